"""What a value of a policy becomes in an RBAC filter: matchers of strings, headers, paths and metadata. Pure.

Follows istiod's `pilot/pkg/security/authz/matcher`. A lone ``*`` means present, at either end it means any rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localmesh import xds
from localmesh.config.policy_values import has_path_template

if TYPE_CHECKING:
    from collections.abc import Sequence

JWT_FILTER = "envoy.filters.http.jwt_authn"
JWT_PAYLOAD = "payload"
_SPECIAL = frozenset(r"\.+*?()|[]{}^$")


def quoted(text: str) -> str:
    """As Go's regexp.QuoteMeta, whose bytes istiod sends."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)


def regex(pattern: str) -> Any:
    return xds.matcher.StringMatcher(safe_regex=xds.matcher.RegexMatcher(regex=pattern))


def exact(text: str) -> Any:
    return xds.matcher.StringMatcher(exact=text)


def prefix(text: str) -> Any:
    return xds.matcher.StringMatcher(prefix=text)


def suffix(text: str) -> Any:
    return xds.matcher.StringMatcher(suffix=text)


PRESENT = regex(".+")


def string(value: str, before: str = "") -> Any:
    """``before``: what stands before the value in what is matched; a value that is present needs nothing before it."""
    if value == "*":
        return PRESENT
    if value.startswith("*"):
        rest = value[1:]
        return regex(f"{before}.*{quoted(rest)}") if before else suffix(rest)
    if value.endswith("*"):
        return prefix(before + value[:-1])
    return exact(before + value)


def header(name: str, value: str, *, ignore_case: bool = False) -> Any:
    if value == "*":
        return xds.route.HeaderMatcher(name=name, present_match=True)
    match = string(value)
    if ignore_case:
        match.ignore_case = True
    return xds.route.HeaderMatcher(name=name, string_match=match)


def path(value: str) -> Any:
    return xds.matcher.PathMatcher(path=string(value))


def path_template(value: str) -> Any:
    """None for what is no template."""
    if not has_path_template(value):
        return None
    template = value.replace("{**}", "**").replace("{*}", "*")
    config = xds.uri_template.UriTemplateMatchConfig(path_template=template)
    return xds.core.TypedExtensionConfig(name="uri-template", typed_config=xds.any_of(config))


def any_string(values: Sequence[str]) -> Any:
    return any_of([xds.matcher.ValueMatcher(string_match=string(value)) for value in values])


def any_of(matchers: Sequence[Any]) -> Any:
    if len(matchers) == 1:
        return matchers[0]
    return xds.matcher.ValueMatcher(or_match=xds.matcher.OrMatcher(value_matchers=matchers))


def one_of_list(value: Any) -> Any:
    return xds.matcher.ValueMatcher(list_match=xds.matcher.ListMatcher(one_of=value))


def metadata(name: str, keys: Sequence[str], value: Any) -> Any:
    """``name``: of the filter that leaves the metadata."""
    segments = [xds.matcher.MetadataMatcher.PathSegment(key=key) for key in keys]
    return xds.matcher.MetadataMatcher(filter=name, path=segments, value=value)


def claim(name: str, match: Any) -> Any:
    """A claim of a verified token that is one string."""
    return metadata(JWT_FILTER, (JWT_PAYLOAD, name), xds.matcher.ValueMatcher(string_match=match))


def claims(names: Sequence[str], values: Sequence[str]) -> Any:
    """A claim, by its way through nested ones, that is one of the values or a list with one of them in it."""
    value = any_string(values)
    either = xds.matcher.OrMatcher(value_matchers=[one_of_list(value), value])
    return metadata(JWT_FILTER, (JWT_PAYLOAD, *names), xds.matcher.ValueMatcher(or_match=either))
