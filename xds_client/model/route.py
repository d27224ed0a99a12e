"""Routes as the mesh says them: what a request must look like and where it goes then. Frozen values, no behaviour.

Field meanings are Envoy's (envoy/config/route/v3/route_components.proto); `rpc.routing` gives them effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from xds_client.model.matching import PresentMatch
from xds_client.model.values import NO_METADATA, NO_OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xds_client.model.matching import FilterStateMatch, HeaderMatch, MetadataMatch, QueryParameterMatch
    from xds_client.model.rate_limit import RateLimit
    from xds_client.model.retry import HedgePolicy, RetryPolicy
    from xds_client.model.route_action import (
        Decorator,
        DirectResponseAction,
        RedirectAction,
        RequestMirrorPolicy,
        RouteAction,
    )
    from xds_client.model.values import Extension, HeaderOperations, Metadata

PerFilter = tuple[tuple[str, object], ...]  # what is said to each filter, by the name that it has in the listener


class PathMatchKind(Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SEPARATED_PREFIX = "separated_prefix"  # whole path segments only
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class PathMatch:
    kind: PathMatchKind
    value: str
    case_sensitive: bool = True


@dataclass(frozen=True, slots=True)
class TlsContextMatch:
    """``RouteMatch.TlsContextMatchOptions``: whether the caller has shown a certificate, and whether it was good."""

    presented: bool | None = None
    validated: bool | None = None


@dataclass(frozen=True, slots=True)
class UriTemplate:
    """``envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig``."""

    path_template: str = ""


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """``never``: why no request matches, because a condition cannot be evaluated; empty: it can.

    ``grpc``: only requests whose content type is gRPC's. ``connect``: only CONNECT, whatever the path.
    """

    path: PathMatch
    headers: tuple[HeaderMatch, ...] = ()
    fraction_per_million: int | None = None  # None: every request
    never: str = ""
    query_parameters: tuple[QueryParameterMatch, ...] = ()
    grpc: bool = False
    connect: bool = False
    runtime_key: str = ""
    path_match_policy: Extension | None = None
    tls_context: TlsContextMatch | None = None
    dynamic_metadata: tuple[MetadataMatch, ...] = ()
    filter_state: tuple[FilterStateMatch, ...] = ()

    @property
    def possible_for_grpc(self) -> bool:
        """Whether a gRPC call can match: it has no query string, so a parameter is never there, and is no CONNECT."""
        return not self.connect and all(q.rule == PresentMatch(present=False) for q in self.query_parameters)


@dataclass(frozen=True, slots=True)
class WeightedCluster:
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class ForwardAction:
    """Send the request to one of the clusters. ``timeout`` in seconds, None = no limit from the route.

    Weights are relative; a cluster of weight 0 is never picked. At least one weight is positive.
    """

    clusters: tuple[WeightedCluster, ...]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class UnsupportedAction:
    """An action this release does not carry out (``redirect``, ``direct_response``, ...): calls fail and name it."""

    kind: str


@dataclass(frozen=True, slots=True)
class Route:
    """``action`` is what is made of a gRPC call; ``forward`` (the proto's ``route``), ``redirect`` and
    ``direct_response`` are all that the mesh said of it, one of them at most.

    ``left_out``: what else the route asks for, in Istio's words, and this release does not carry out; ``unread``: what
    of it cannot be read, and why.
    """

    name: str
    match: RouteMatch
    action: ForwardAction | UnsupportedAction
    left_out: tuple[str, ...] = ()
    forward: RouteAction | None = None
    redirect: RedirectAction | None = None
    direct_response: DirectResponseAction | None = None
    headers: HeaderOperations = NO_OPERATIONS
    typed_per_filter_config: PerFilter = ()
    metadata: Metadata = NO_METADATA
    decorator: Decorator | None = None
    tracing: object = None
    stat_prefix: str = ""
    per_request_buffer_limit_bytes: int | None = None
    request_body_buffer_limit: int | None = None
    unread: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """``require_tls``: a request whose ``x-forwarded-proto`` is not ``https`` gets a redirect instead of a route.

    ``left_out``: what could not be read of it, and why.
    """

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    require_tls: bool = False
    left_out: tuple[str, ...] = ()
    headers: HeaderOperations = NO_OPERATIONS
    typed_per_filter_config: PerFilter = ()
    metadata: Metadata = NO_METADATA
    retry_policy: RetryPolicy | None = None
    retry_policy_typed_config: object = None
    hedge_policy: HedgePolicy | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    request_mirror_policies: tuple[RequestMirrorPolicy, ...] = ()
    include_request_attempt_count: bool = False
    include_attempt_count_in_response: bool = False
    include_is_timeout_retry_header: bool = False
    per_request_buffer_limit_bytes: int | None = None
    request_body_buffer_limit: int | None = None


@dataclass(frozen=True, slots=True)
class RouteTableTerms:
    """What a route table (``RouteConfiguration``) says of all its virtual hosts.

    ``left_out``: what could not be read of it, and why.
    """

    left_out: tuple[str, ...] = ()
    headers: HeaderOperations = NO_OPERATIONS
    most_specific_header_mutations_wins: bool = False
    internal_only_headers: tuple[str, ...] = ()
    typed_per_filter_config: PerFilter = ()
    metadata: Metadata = NO_METADATA
    request_mirror_policies: tuple[RequestMirrorPolicy, ...] = ()
    cluster_specifier_plugins: tuple[Extension, ...] = ()
    validate_clusters: bool | None = None
    max_direct_response_body_size_bytes: int | None = None
    vhost_header: str = ""
    ignore_path_parameters_in_path_matching: bool = False


NO_TERMS = RouteTableTerms()


@dataclass(frozen=True, slots=True)
class RouteConfiguration:
    """One RDS resource. Without virtual hosts it is istiod's way to say that it knows no such host."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    ignore_port_in_host_matching: bool = False
    terms: RouteTableTerms = NO_TERMS

    def said_to_filters(self) -> Iterator[tuple[str, object]]:
        """What anybody in it says to filters, by the names that these have in the listener."""
        yield from self.terms.typed_per_filter_config
        for host in self.virtual_hosts:
            yield from host.typed_per_filter_config
            for route in host.routes:
                yield from route.typed_per_filter_config
                if route.forward is not None and route.forward.weighted_clusters is not None:
                    for share in route.forward.weighted_clusters.clusters:
                        yield from share.typed_per_filter_config
