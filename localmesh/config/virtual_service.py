"""VirtualService: HTTP routes. Field meanings are Istio's (networking/v1). TCP and TLS routes are refused by name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from http import HTTPStatus
from typing import ClassVar

from localmesh.config.decode import Spec, too_fine
from localmesh.config.destination_rule import PortSelector
from localmesh.config.service_entry import exported_to_all
from proxyless_native import Pattern

MESH_GATEWAY = "mesh"
_HUNDRED = 100
_STATUS_CODES = frozenset(str(status.value) for status in HTTPStatus)
_RETRY_ON = frozenset(
    {
        *("5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "retriable-4xx"),
        *("refused-stream", "retriable-status-codes", "retriable-headers", "envoy-ratelimited"),
        *("http3-post-connect-failure", "cancelled", "deadline-exceeded", "internal", "resource-exhausted"),
        "unavailable",
    }
)
REDIRECT_CODES = (301, 302, 303, 307, 308)


def not_a_pattern(text: str) -> str | None:
    """Why Envoy would refuse the text as a regular expression; None: it would not."""
    if not text:
        return "an empty text is not a regular expression (RE2)"
    try:
        Pattern(text)
    except ValueError as error:
        return f"{text[:200]!r} is not a regular expression (RE2): {error}"
    return None


def _no_percentage(value: float) -> str | None:
    return None if value <= _HUNDRED else f"{value} is not between 0 and {_HUNDRED}"


@dataclass(frozen=True, slots=True)
class StringMatch(Spec):
    """Nothing set means: present."""

    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = (("exact", "prefix", "regex"),)

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None

    @property
    def is_present_match(self) -> bool:
        return self.exact is None and self.prefix is None and self.regex is None

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.prefix == "":
            yield "prefix", "must not be empty"
        if self.regex is not None and (reason := not_a_pattern(self.regex)):
            yield "regex", reason


@dataclass(frozen=True, slots=True)
class HttpMatch(Spec):
    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: Mapping[str, StringMatch] = field(default_factory=dict)
    without_headers: Mapping[str, StringMatch] = field(default_factory=dict)
    query_params: Mapping[str, StringMatch] = field(default_factory=dict)
    port: int = 0
    source_labels: Mapping[str, str] = field(default_factory=dict)
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    ignore_uri_case: bool = False
    stat_prefix: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        for kind, names in (("headers", self.headers), ("withoutHeaders", self.without_headers)):
            if any(name.startswith("@request.auth.claims") for name in names):
                yield kind, "localmesh does not support matches on JWT claims yet"
        if self.uri is not None and self.uri == StringMatch():
            yield "uri", "needs one of exact, prefix, regex"


@dataclass(frozen=True, slots=True)
class Destination(Spec):
    host: str
    subset: str = ""
    port: PortSelector | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.host:
            yield "host", "must not be empty"


@dataclass(frozen=True, slots=True)
class HeaderOperations(Spec):
    set: Mapping[str, str] = field(default_factory=dict)
    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headers(Spec):
    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


@dataclass(frozen=True, slots=True)
class RouteDestination(Spec):
    destination: Destination
    weight: int = 0
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Percent(Spec):
    value: float = 0.0

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := _no_percentage(self.value):
            yield "value", reason


@dataclass(frozen=True, slots=True)
class Redirect(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"prefixRewrite", "derivePort"})

    uri: str = ""
    authority: str = ""
    port: int = 0
    scheme: str = ""
    redirect_code: int = 301

    def problems(self) -> Iterator[tuple[str, str]]:
        if not (self.uri or self.authority or self.port or self.scheme):
            yield "", "needs one of uri, authority, port, scheme"
        if self.redirect_code not in REDIRECT_CODES:
            yield "redirectCode", f"{self.redirect_code} is not one of {', '.join(map(str, REDIRECT_CODES))}"


@dataclass(frozen=True, slots=True)
class Body(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"bytes"})

    string: str = ""


@dataclass(frozen=True, slots=True)
class DirectResponse(Spec):
    status: int
    body: Body | None = None


@dataclass(frozen=True, slots=True)
class RegexRewrite(Spec):
    match: str
    rewrite: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := not_a_pattern(self.match):
            yield "match", reason


@dataclass(frozen=True, slots=True)
class Rewrite(Spec):
    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


@dataclass(frozen=True, slots=True)
class Retries(Spec):
    attempts: int = 0
    per_try_timeout: timedelta | None = None
    retry_on: str = ""
    retry_remote_localities: bool = False
    retry_ignore_previous_hosts: bool | None = None
    backoff: timedelta | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := too_fine(self.per_try_timeout):
            yield "perTryTimeout", reason
        if not self.attempts and (self.per_try_timeout is not None or self.retry_on):
            yield "attempts", "0 turns retries off: nothing else may be set"
        for word in self.retry_on.split(",") if self.retry_on else ():
            if word not in _RETRY_ON and word not in _STATUS_CODES:
                yield "retryOn", f"{word!r} is not a policy that Istio knows"


@dataclass(frozen=True, slots=True)
class Delay(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"exponentialDelay"})

    fixed_delay: timedelta
    percentage: Percent | None = None
    percent: int = 0

    def problems(self) -> Iterator[tuple[str, str]]:
        if reason := _no_percentage(self.percent):
            yield "percent", reason


class GrpcStatus(Enum):
    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Abort(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"http2Error"})
    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = (("httpStatus", "grpcStatus"),)

    http_status: int | None = None
    grpc_status: GrpcStatus | None = None
    percentage: Percent | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.http_status is None and self.grpc_status is None:
            yield "", "needs httpStatus or grpcStatus"


@dataclass(frozen=True, slots=True)
class Fault(Spec):
    delay: Delay | None = None
    abort: Abort | None = None


class UnmatchedPreflights(Enum):
    UNSPECIFIED = 0
    FORWARD = 1
    IGNORE = 2


@dataclass(frozen=True, slots=True)
class Cors(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"allowOrigin"})

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: timedelta | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: UnmatchedPreflights = UnmatchedPreflights.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class MirrorPolicy(Spec):
    destination: Destination
    percentage: Percent | None = None


@dataclass(frozen=True, slots=True)
class HttpRoute(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"delegate", "mirrorPercent", "mirror_percent"})

    name: str = ""
    match: tuple[HttpMatch, ...] = ()
    route: tuple[RouteDestination, ...] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    rewrite: Rewrite | None = None
    timeout: timedelta | None = None
    retries: Retries | None = None
    fault: Fault | None = None
    mirror: Destination | None = None
    mirror_percentage: Percent | None = None
    mirrors: tuple[MirrorPolicy, ...] = ()
    cors_policy: Cors | None = None
    headers: Headers | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        actions = [bool(self.route), self.redirect is not None, self.direct_response is not None]
        if sum(actions) != 1:
            yield "route", "a route needs exactly one of route, redirect, directResponse"
        if len(self.route) > 1 and not any(destination.weight for destination in self.route):
            yield "route", "the weights sum to 0"
        if reason := too_fine(self.timeout):
            yield "timeout", reason
        if self.mirror is not None and self.mirrors:
            yield "mirrors", "mirror and mirrors exclude each other"


@dataclass(frozen=True, slots=True)
class VirtualService(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"tls", "tcp"})

    hosts: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    http: tuple[HttpRoute, ...] = ()
    export_to: tuple[str, ...] = ("*",)

    @property
    def applies_to_mesh(self) -> bool:
        return not self.gateways or MESH_GATEWAY in self.gateways

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.hosts:
            yield "hosts", "needs at least one host"
        if not self.http:
            yield "http", "needs at least one route"
        if "*" in self.hosts and self.applies_to_mesh:
            yield "hosts", "Istio does not allow the host * for the mesh gateway"
        yield from exported_to_all(self.export_to)
