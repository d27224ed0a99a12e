"""RBAC, of requests and of connections. What a rule means native/policy says; here it is written down for it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography import x509

from rpc._native import Managed, Rbac
from rpc.authorization import events
from rpc.authorization.decision import PERMISSION_DENIED, Refusal
from rpc.authorization.per_route import routes_speak_to
from rpc.authorization.program import CannotCarryOutError, Treated, answered_by_manager, carries_out, managed
from xds_client import model as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.decision import Decision, Head
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request

HTTP_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
NETWORK_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"
DETAILS = "RBAC: access denied"
_UNDECIDED = "rbac_access_denied_undecided[a path or header is longer than the patterns of the policies may look at]"
# What a sidecar itself writes into a request before its filters look, and this library does not.
_WRITTEN_BY_SIDECARS = frozenset(
    {"x-forwarded-client-cert", "x-forwarded-proto", "x-request-id", "x-envoy-external-address", "x-envoy-internal"}
)
Written = tuple[Any, ...]  # as native/src/py/rbac_rules.rs reads it


# ---- how rules are written down


def _text(said: m.StringMatch) -> Written:
    return said.kind.value, said.value, said.ignore_case


def _header(said: m.HeaderMatch) -> Written:
    name = said.name.lower()
    if name in _WRITTEN_BY_SIDECARS:
        raise CannotCarryOutError(f"a rule asks for {name}, which a sidecar writes itself")
    rule: Written
    if isinstance(said.rule, m.StringMatch):
        rule = _text(said.rule)
    elif isinstance(said.rule, m.RangeMatch):
        rule = ("range", said.rule.start, said.rule.end)
    else:
        rule = ("present", said.rule.present)
    return "header", name, rule, said.invert, said.missing_as_empty


def _ports(said: m.DestinationPorts) -> Written:
    if not 0 <= said.start < said.end <= 1 << 16:
        raise CannotCarryOutError(f"ports from {said.start} to below {said.end} are none", invalid=True)
    return "destination_port", said.start, said.end


def _network(kind: str, said: m.Network) -> Written:
    return kind, str(said.network_address), said.prefixlen


def _caller(said: m.CallerIp) -> Written:
    return _network("direct_ip" if said.address is m.Address.DIRECT else "client_ip", said.network)


def _metadata(said: m.SourcedMetadata) -> Written:
    if said.source != "DYNAMIC":
        raise CannotCarryOutError(f"a rule asks for the metadata of {said.source}")
    match = said.match
    return "metadata", match.filter, list(match.path), _value(match.value), match.invert


_VALUES: dict[type, Callable[[Any], Written]] = {
    m.StringMatch: _text,
    m.PresentMatch: lambda said: ("present", said.present),
    m.NullMatch: lambda _: ("null",),
    m.BoolMatch: lambda said: ("bool", said.value),
    m.DoubleMatch: lambda said: ("number", said.start, said.end),
    m.ListMatch: lambda said: ("list", _value(said.one_of)),
    m.AnyValueMatch: lambda said: ("or", [_value(value) for value in said.values]),
}


def _value(said: m.ValueMatch) -> Written:
    return _VALUES[type(said)](said)


def _authenticated(said: m.Authenticated) -> Written:
    return "authenticated", None if said.principal_name is None else _text(said.principal_name)


_KINDS: dict[type, Callable[[Any], Written]] = {
    m.Anything: lambda _: ("any",),
    m.AllOf: lambda said: ("and", [_rule(one) for one in said.of]),
    m.AnyOf: lambda said: ("or", [_rule(one) for one in said.of]),
    m.Not: lambda said: ("not", _rule(said.of)),
    m.HeaderMatch: _header,
    m.UrlPath: lambda said: ("path", _text(said.path)),
    m.UriTemplate: lambda said: ("template", said.path_template),
    m.DestinationIp: lambda said: _network("destination_ip", said.network),
    m.DestinationPorts: _ports,
    m.RequestedServerName: lambda said: ("server_name", _text(said.name)),
    m.Authenticated: _authenticated,
    m.CallerIp: _caller,
    m.SourcedMetadata: _metadata,
}


def _rule(said: Any) -> Written:
    written = _KINDS.get(type(said))
    if written is None:
        raise CannotCarryOutError(f"a rule asks for {type(said).__name__}, which nobody answers here")
    return written(said)


def _policy(name: str, said: m.RbacPolicy) -> Written:
    for field in ("condition", "checked_condition", "cel_config"):
        if getattr(said, field) is not None:
            raise CannotCarryOutError(f"policy {name} has a {field} in CEL, which nobody evaluates here")
    try:
        return name, [_rule(one) for one in said.permissions], [_rule(one) for one in said.principals]
    except CannotCarryOutError as error:
        raise CannotCarryOutError(f"policy {name}: {error}", invalid=error.invalid) from error


def written(said: m.Rbac | None) -> Written | None:
    """As `Rbac` takes it; raises `CannotCarryOutError`."""
    if said is None:
        return None
    if said.audit_logging_options is not None:
        raise CannotCarryOutError("it has audit loggers of its own")
    return said.action.value, [_policy(name, policy) for name, policy in said.policies]


# ---- what is asked for each request


@lru_cache(256)
def subject(certificate: bytes) -> bytes:
    """As Envoy has it (RFC 2253); empty where the certificate cannot be read."""
    try:
        return x509.load_der_x509_certificate(certificate).subject.rfc4514_string().encode()
    except ValueError:
        return b""


@lru_cache(4096)
def _refusal(policy: str) -> Refusal:
    return Refusal(PERMISSION_DENIED, DETAILS, policy, f"rbac_access_denied_matched_policy[{policy or 'none'}]")


def _denied(head: Head, policy: str | None) -> Refusal:
    refusal = _refusal(policy or "")
    events.tell(events.What.DENIED, head, refusal.policy, refusal.why)
    return refusal


def _undecided(head: Head) -> Refusal:
    events.tell(events.What.DENIED, head, "", _UNDECIDED)
    return Refusal(PERMISSION_DENIED, DETAILS, why=_UNDECIDED)


def _told(head: Head, what: str, policy: str | None) -> None:
    kind = events.What(what)
    why = f"rbac_matched_policy[{policy or 'none'}]" if kind is events.What.AUDITED else _refusal(policy or "").why
    events.tell(kind, head, policy or "", why)


class RbacStep:
    """One RBAC filter, or several that stand behind each other: the engine asks them without making anything."""

    def __init__(
        self, filters: tuple[Written, ...], treated: Managed, *, treats: bool = False, of_connections: bool = False
    ) -> None:
        self.filters = filters
        self._treated = treated
        self._treats = treats
        self._of_connections = of_connections
        self.authorize = Rbac(
            list(filters),
            treated,
            _denied,
            _undecided,
            _told,
            subject,
            answered_by_manager if treats else None,
            of_connections,
        )

    def __call__(self, request: Request) -> Decision:
        return self.authorize(request.head)

    def after(self, before: Step) -> RbacStep | None:
        if isinstance(before, Treated):
            return RbacStep(self.filters, self._treated, treats=True) if not self._of_connections else None
        if isinstance(before, RbacStep) and before._of_connections == self._of_connections:  # noqa: SLF001 - its like
            filters, treats = (*before.filters, *self.filters), before._treats  # noqa: SLF001
            return RbacStep(filters, self._treated, treats=treats, of_connections=self._of_connections)
        return None


def _step(said: m.HttpRbac | m.NetworkRbac, treated: Managed, *, of_connections: bool) -> RbacStep | None:
    if said.matcher is not None or said.shadow_matcher is not None:
        raise CannotCarryOutError("it says by a matching tree who may call, which nobody evaluates here")
    if said.rules is None and said.shadow_rules is None:
        return None
    one = (written(said.rules), written(said.shadow_rules), said.shadow_rules_stat_prefix)
    try:
        return RbacStep((one,), treated, of_connections=of_connections)
    except ValueError as error:  # a pattern or a template that is none
        raise CannotCarryOutError(str(error), invalid=True) from error


def _of_requests(said: m.HttpRbac, around: Surroundings) -> RbacStep | None:
    if routes_speak_to(around):
        raise CannotCarryOutError("a route says something else to it")
    return _step(said, managed(around.manager), of_connections=False)


def of_connections(said: m.NetworkRbac) -> RbacStep | None:
    """A network filter: asked when a connection comes, and for each call that begins on it later."""
    return _step(said, Managed(), of_connections=True)


carries_out(HTTP_RBAC, m.HttpRbac, _of_requests)
