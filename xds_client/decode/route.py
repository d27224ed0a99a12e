"""RouteConfiguration to the model (envoy/config/route/v3). Called by `Parsed.value`; pure functions.

Envoy's rules hold, read for a gRPC request: a POST without a query string.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.config.route.v3 import route_components_pb2, route_pb2  # type: ignore[import-untyped]

from xds_client.decode.extensions import as_it_came, named_extension
from xds_client.decode.fields import FieldError, each, inside, regex_substitution, seconds
from xds_client.decode.left_out import of_route
from xds_client.decode.route_action import OLD
from xds_client.decode.route_match import route_match
from xds_client.decode.shape import Shape, shaped
from xds_client.decode.values import HEADERS
from xds_client.model import (
    ForwardAction,
    Route,
    RouteConfiguration,
    RouteTableTerms,
    UnsupportedAction,
    VirtualHost,
    WeightedCluster,
)

# What Envoy takes when RouteAction says no timeout at all.
ENVOY_DEFAULT_TIMEOUT = 15.0
_MAX_TOTAL_WEIGHT = 2**32 - 1

_table = Shape(
    RouteTableTerms,
    route_pb2.RouteConfiguration,
    by={"cluster_specifier_plugins": lambda said: named_extension(said.extension)},
    wholes=HEADERS,
    by_hand=frozenset({"name", "virtual_hosts", "ignore_port_in_host_matching"}),
    not_kept={"vhds": "virtual hosts are not asked for one by one; istiod has none such"},
)
_host = Shape(
    VirtualHost,
    route_components_pb2.VirtualHost,
    wholes=HEADERS,
    by_hand=frozenset({"name", "domains", "routes", "require_tls"}),
    not_kept={
        "matcher": "a table that says so is refused",
        "virtual_clusters": "they only name statistics",
        "cors": OLD,
    },
)
_besides = Shape(
    Route,
    route_components_pb2.Route,
    renamed={"route": "forward"},
    by={"tracing": as_it_came},
    wholes=HEADERS,
    by_hand=frozenset({"name", "match"}),
    not_kept={
        "filter_action": "it says nothing; the action's kind is told",
        "non_forwarding_action": "it says nothing; the action's kind is told",
    },
)


def route_configuration(message: Any) -> RouteConfiguration:
    problems: list[str] = []
    terms = _table.said(message, problems)
    return RouteConfiguration(
        name=message.name,
        virtual_hosts=each("virtual_hosts", _virtual_host, message.virtual_hosts),
        ignore_port_in_host_matching=message.ignore_port_in_host_matching,
        terms=RouteTableTerms(left_out=tuple(problems), **terms),
    )


shaped(route_pb2.RouteConfiguration.DESCRIPTOR.full_name, route_configuration)


def _virtual_host(message: Any) -> VirtualHost:
    if not message.domains:
        raise FieldError("domains", "at least one is required")
    if message.HasField("matcher"):
        raise FieldError("matcher", "generic matching trees are not supported")
    routes = each("routes", partial(_route, message), message.routes)
    # EXTERNAL_ONLY spares requests that a gateway marked as internal; a sidecar's own are not marked.
    tls = message.require_tls != message.NONE
    problems: list[str] = []
    said = _host.said(message, problems)
    kept = tuple(route for route in routes if route is not None)
    return VirtualHost(message.name, tuple(message.domains), kept, tls, tuple(problems), **said)


def _route(virtual_host: Any, message: Any) -> Route | None:
    """One route; None where it is malformed and no gRPC call could take it anyway: that costs the others nothing."""
    problems: list[str] = []
    try:
        match = inside("match", route_match, message.match)
        action = _action(message)
    except FieldError:
        if _never_for_grpc(message.match):
            return None
        raise
    said = _besides.said(message, problems)
    return Route(message.name, match, action, of_route(message, virtual_host), unread=tuple(problems), **said)


def _never_for_grpc(message: Any) -> bool:
    """As `RouteMatch.possible_for_grpc`, of a match that cannot be decoded."""
    if message.WhichOneof("path_specifier") == "connect_matcher":
        return True
    return any(
        q.WhichOneof("query_parameter_match_specifier") != "present_match" or q.present_match
        for q in message.query_parameters
    )


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
