"""What a rule asks of one attribute, as RBAC's permission or principal. Pure.

Follows istiod's `pilot/pkg/security/authz/model/generator.go`: which attributes are of requests only, and what each of
their values becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from localmesh import xds
from localmesh.compile.authorization import matchers
from localmesh.config.policy_values import parse_block

HOSTS, METHODS, PATHS = "hosts", "methods", "paths"  # an operation's own: no condition has these keys
_HEADERS, _CLAIMS, _FILTERS = "request.headers", "request.auth.claims", "experimental.envoy.filters."
_OF_REQUESTS = (HOSTS, METHODS, PATHS, "request.")
_SPIFFE = "spiffe://"

Make = Callable[[str, Sequence[str]], Any]  # of a key and its values: a Permission or a Principal


class Unusable(Exception):  # noqa: N818  # control flow inside this package
    """What is asked cannot be known here: of a request where there are only bytes, or by a malformed key."""


@dataclass(frozen=True, slots=True)
class Term:
    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()

    @property
    def is_permission(self) -> bool:
        return self.key in _PERMISSIONS or self.key.startswith(_FILTERS)

    def compiled(self, *, of_requests: bool) -> list[Any]:
        """All of these must hold. Raises `Unusable`."""
        if not of_requests and self.key.startswith(_OF_REQUESTS):
            raise Unusable
        make, negate = _PERMISSIONS.get(self.key), _not_permission
        if self.key.startswith(_FILTERS):
            make = _of_filter
        elif make is None:
            make, negate = _principal(self.key), _not_principal
        found = [make(self.key, self.values)] if self.values else []
        return [*found, negate(make(self.key, self.not_values))] if self.not_values else found


def all_permissions(found: Sequence[Any]) -> Any:
    rules = found or [xds.rbac.Permission(any=True)]
    return xds.rbac.Permission(and_rules=xds.rbac.Permission.Set(rules=rules))


def all_principals(found: Sequence[Any]) -> Any:
    return xds.rbac.Principal(and_ids=xds.rbac.Principal.Set(ids=found or [xds.rbac.Principal(any=True)]))


def _not_permission(found: Any) -> Any:
    return xds.rbac.Permission(not_rule=found)


def _not_principal(found: Any) -> Any:
    return xds.rbac.Principal(not_id=found)


def _any_permission(one: Callable[[str], dict[str, Any]], _: str, values: Sequence[str]) -> Any:
    rules = [xds.rbac.Permission(**one(value)) for value in values]
    return xds.rbac.Permission(or_rules=xds.rbac.Permission.Set(rules=rules))


def _any_principal(one: Callable[[str], dict[str, Any]], _: str, values: Sequence[str]) -> Any:
    ids = [xds.rbac.Principal(**one(value)) for value in values]
    return xds.rbac.Principal(or_ids=xds.rbac.Principal.Set(ids=ids))


def _block(value: str) -> Any:
    found = parse_block(value)
    if found is None:  # decoding refuses these
        raise Unusable
    address, length = found
    return xds.core.CidrRange(address_prefix=address, prefix_len={"value": length})


def _peer(match: Any) -> dict[str, Any]:
    return {"authenticated": xds.rbac.Principal.Authenticated(principal_name=match)}


def _path(value: str) -> dict[str, Any]:
    template = matchers.path_template(value)
    return {"uri_template": template} if template is not None else {"url_path": matchers.path(value)}


_PERMISSIONS: dict[str, Make] = {
    HOSTS: partial(_any_permission, lambda value: {"header": matchers.header(":authority", value, ignore_case=True)}),
    METHODS: partial(_any_permission, lambda value: {"header": matchers.header(":method", value)}),
    PATHS: partial(_any_permission, _path),
    "destination.ip": partial(_any_permission, lambda value: {"destination_ip": _block(value)}),
    "destination.port": partial(_any_permission, lambda value: {"destination_port": int(value)}),
    "connection.sni": partial(_any_permission, lambda value: {"requested_server_name": matchers.string(value)}),
}


def _of_filter(key: str, values: Sequence[str]) -> Any:
    """``experimental.envoy.filters.NAME[KEY]``; a value in brackets is one of a list."""
    name, _, of = key.removeprefix("experimental.").removesuffix("]").partition("[")

    def match(value: str) -> Any:
        is_of_list = value.startswith("[") and value.endswith("]")
        found = matchers.string(value.strip("[]") if is_of_list else value)
        found = xds.matcher.ValueMatcher(string_match=found)
        return matchers.one_of_list(found) if is_of_list else found

    value = matchers.any_of([match(value) for value in values])
    return xds.rbac.Permission(metadata=matchers.metadata(name, (of,), value))


def _namespace(value: str) -> dict[str, Any]:
    pattern = ".*".join(matchers.quoted(part) for part in value.split("*"))
    return _peer(matchers.regex(f".*/ns/{pattern}/.*"))


def _service_account(value: str) -> dict[str, Any]:
    """An identity may say more than these two, before the account and behind it."""
    namespace, _, account = value.partition("/")
    namespace, account = matchers.quoted(namespace), matchers.quoted(account)
    return _peer(matchers.regex(f"{_SPIFFE}.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?"))


def _trust_domain(value: str) -> dict[str, Any]:
    if value == "*":
        return _peer(matchers.prefix(_SPIFFE))
    before, wildcard, after = value.partition("*")
    if not wildcard:
        return _peer(matchers.prefix(f"{_SPIFFE}{value}/"))
    return _peer(matchers.regex(f"{_SPIFFE}{matchers.quoted(before)}[^/]*{matchers.quoted(after)}/.*"))


def _token(value: str) -> Any:
    """ISSUER/SUBJECT; the issuer may be a URL, so the last slash divides them."""
    issuer, subject = _issuer(value), _subject(value)
    both = [xds.rbac.Principal(metadata=matchers.claim(*one)) for one in (("iss", issuer), ("sub", subject))]
    return all_principals(both)


def _issuer(value: str) -> Any:
    issuer, slash, _ = value.rpartition("/")
    issuer = issuer if slash else value
    if value.startswith("*"):
        return matchers.suffix(issuer[1:]) if slash and issuer != "*" else matchers.PRESENT
    if value.endswith("*") and not slash:
        return matchers.prefix(issuer[:-1])
    return matchers.exact(issuer)


def _subject(value: str) -> Any:
    _, slash, subject = value.rpartition("/")
    if value == "*":
        return matchers.PRESENT
    if value.startswith("*"):
        return matchers.exact(subject) if slash else matchers.suffix(value[1:])
    if value.endswith("*"):
        return matchers.prefix(subject[:-1]) if slash and subject != "*" else matchers.PRESENT
    return matchers.exact(subject if slash else "")


def _tokens(_: str, values: Sequence[str]) -> Any:
    found = [_token(value) for value in values]
    return found[0] if len(found) == 1 else xds.rbac.Principal(or_ids=xds.rbac.Principal.Set(ids=found))


def _claim(names: Sequence[str], _: str, values: Sequence[str]) -> Any:
    return xds.rbac.Principal(metadata=matchers.claims(names, values))


_PRINCIPALS: dict[str, Make] = {
    "source.ip": partial(_any_principal, lambda value: {"direct_remote_ip": _block(value)}),
    "remote.ip": partial(_any_principal, lambda value: {"remote_ip": _block(value)}),
    "source.namespace": partial(_any_principal, _namespace),
    "source.serviceAccount": partial(_any_principal, _service_account),
    "source.trustDomain": partial(_any_principal, _trust_domain),
    "source.principal": partial(_any_principal, lambda value: _peer(matchers.string(value, _SPIFFE))),
    "request.auth.principal": _tokens,
    "request.auth.audiences": partial(_claim, ("aud",)),
    "request.auth.presenter": partial(_claim, ("azp",)),
}


def _principal(key: str) -> Make:
    if key.startswith(_HEADERS):
        name = _in_brackets(key.removeprefix(_HEADERS))
        return partial(_any_principal, lambda value: {"header": matchers.header(name, value)})
    if key.startswith(_CLAIMS):
        whole = _in_brackets(key.removeprefix(_CLAIMS))
        names = whole.split("][")
        is_nested = not any("[" in name or "]" in name for name in names)
        return partial(_claim, names if is_nested else [whole])
    return _PRINCIPALS[key]


def _in_brackets(text: str) -> str:
    if not (text.startswith("[") and text.endswith("]")):
        raise Unusable
    return text[1:-1]
