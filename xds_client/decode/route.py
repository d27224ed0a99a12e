"""RouteConfiguration to the model (envoy/config/route/v3). Called by `Parsed.value`; pure functions.

Envoy's rules hold, read for a gRPC request: a POST without a query string.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from xds_client.decode.fields import FieldError, UnsupportedError, each, inside, regex_substitution, seconds
from xds_client.decode.left_out import of_route
from xds_client.decode.route_match import never_for_grpc, route_match
from xds_client.model import (
    ForwardAction,
    PathMatch,
    PathMatchKind,
    Route,
    RouteConfiguration,
    RouteMatch,
    UnsupportedAction,
    VirtualHost,
    WeightedCluster,
)

# What Envoy takes when RouteAction says no timeout at all.
ENVOY_DEFAULT_TIMEOUT = 15.0
_MAX_TOTAL_WEIGHT = 2**32 - 1
_NO_PATH = PathMatch(PathMatchKind.EXACT, "")  # no request has it


def route_configuration(message: Any) -> RouteConfiguration:
    return RouteConfiguration(
        name=message.name,
        virtual_hosts=each("virtual_hosts", _virtual_host, message.virtual_hosts),
        ignore_port_in_host_matching=message.ignore_port_in_host_matching,
    )


def _virtual_host(message: Any) -> VirtualHost:
    if not message.domains:
        raise FieldError("domains", "at least one is required")
    if message.HasField("matcher"):
        raise FieldError("matcher", "generic matching trees are not supported")
    routes = each("routes", partial(_route, message), message.routes)
    # EXTERNAL_ONLY spares requests that a gateway marked as internal; a sidecar's own are not marked.
    tls = message.require_tls != message.NONE
    return VirtualHost(message.name, tuple(message.domains), tuple(r for r in routes if r is not None), tls)


def _route(virtual_host: Any, message: Any) -> Route | None:
    """One route, or None when no gRPC call can ever take it: it would only cost every call a look."""
    if never_for_grpc(message.match):
        return None
    try:
        match = inside("match", route_match, message.match)
    except UnsupportedError as error:
        match = RouteMatch(_NO_PATH, never=f"{error.field}: {error.reason}")
    return Route(message.name, match, _action(message), of_route(message, virtual_host))


def _action(message: Any) -> ForwardAction | UnsupportedAction:
    kind = message.WhichOneof("action")
    if kind is None:
        raise FieldError("action", "is missing")
    if kind != "route":
        return UnsupportedAction(kind)
    return inside("route", _forward, message.route)


def _forward(message: Any) -> ForwardAction | UnsupportedAction:
    if message.HasField("regex_rewrite"):
        inside("regex_rewrite", regex_substitution, message.regex_rewrite)
    kind = message.WhichOneof("cluster_specifier")
    if kind == "cluster":
        if not message.cluster:
            raise FieldError("cluster", "is empty")
        return ForwardAction((WeightedCluster(message.cluster, 1),), route_timeout(message))
    if kind != "weighted_clusters":
        return UnsupportedAction(kind or "cluster_specifier")
    split = message.weighted_clusters.clusters
    if any(c.cluster_header for c in split):
        return UnsupportedAction("weighted_clusters.cluster_header")
    total = sum(c.weight.value for c in split)
    if not 0 < total <= _MAX_TOTAL_WEIGHT:
        raise FieldError("weighted_clusters", f"weights add up to {total}; 1 to {_MAX_TOTAL_WEIGHT} is possible")
    clusters = tuple(WeightedCluster(c.name, c.weight.value) for c in split)
    return ForwardAction(clusters, route_timeout(message))


def route_timeout(message: Any) -> float | None:
    """The limit that Envoy's router sets for a gRPC request (source/common/router/router.cc, finalTimeout).

    ``grpc_timeout_header_max`` or its older form ``max_grpc_timeout`` (which istiod sends to sidecars) replace
    ``timeout``; ``max_stream_duration`` holds besides. The caller's own deadline is not ours to add here.
    """
    stream = message.max_stream_duration
    if stream.HasField("grpc_timeout_header_max"):
        limit = seconds("max_stream_duration.grpc_timeout_header_max", stream.grpc_timeout_header_max)
    elif message.HasField("max_grpc_timeout"):
        limit = seconds("max_grpc_timeout", message.max_grpc_timeout)
    elif message.HasField("timeout"):
        limit = seconds("timeout", message.timeout)
    else:
        limit = ENVOY_DEFAULT_TIMEOUT
    # 0s switches a limit off, in each of the fields.
    longest = seconds("max_stream_duration.max_stream_duration", stream.max_stream_duration)
    limits = [x for x in (limit, longest) if x > 0]
    return min(limits, default=None)
