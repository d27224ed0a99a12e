"""What routes and clusters ask for that this release does not carry out, in Istio's words. Pure functions.

Istio's own defaults are nobody's wish and are not named: two retries, no limits. Nor is what changes no call
(decorators, access logs, attempt counts), nor what fails calls by name (`UnsupportedAction`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError as WireError

from xds_client.decode.values import HEADER_FIELDS
from xds_client.dialled import subset_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_LIMIT = 2**32 - 1
_DEFAULT_RETRIES, _DEFAULT_RETRY_ON = 2, "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_RETRY_SETTINGS = ("per_try_timeout", "per_try_idle_timeout", "retry_priority", "retry_back_off")
_FILTERS = {"envoy.filters.http.fault": "fault", "envoy.filters.http.cors": "corsPolicy"}
_REWRITES = ("prefix_rewrite", "regex_rewrite", "host_rewrite_literal", "host_rewrite_header", "path_rewrite_policy")
_THRESHOLDS = {
    "max_connections": "connectionPool.tcp.maxConnections",
    "max_pending_requests": "connectionPool.http.http1MaxPendingRequests",
    "max_requests": "connectionPool.http.http2MaxRequests",
    "max_retries": "connectionPool.http.maxRetries",
}
_HTTP_OPTIONS = {
    "max_requests_per_connection": "connectionPool.http.maxRequestsPerConnection",
    "idle_timeout": "connectionPool.http.idleTimeout",
    "max_connection_duration": "connectionPool.tcp.maxConnectionDuration",
}
_POLICIES = ("round_robin_lb_config", "least_request_lb_config")
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def of_route(route: Any, virtual_host: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_of_route(route, virtual_host)))


def of_cluster(cluster: Any) -> tuple[str, ...]:
    """Whatever it is called, and wherever its endpoints are."""
    return tuple(dict.fromkeys(_of_cluster(cluster)))


def of_endpoints(cluster: Any) -> tuple[str, ...]:
    """What it asks for by its name."""
    if cluster.type == cluster.ORIGINAL_DST and (subset := subset_of(cluster.name)):
        return (f"subset {subset} (addresses come from DNS, which tells no labels: all pods are called)",)
    return ()


def _of_route(route: Any, virtual_host: Any) -> Iterator[str]:
    action = route.route
    policy = action.retry_policy if action.HasField("retry_policy") else virtual_host.retry_policy
    if policy.retry_on and (retries := _retries(policy)):
        yield retries
    if action.request_mirror_policies:
        yield "mirror"
    if any(_said(action, field) for field in _REWRITES):
        yield "rewrite"
    places = (route, virtual_host, *action.weighted_clusters.clusters)
    if any(_said(place, field) for place in places for field in HEADER_FIELDS):
        yield "headers"
    for place in places:
        yield from (_FILTERS.get(name, name) for name in sorted(place.typed_per_filter_config))


def _said(message: Any, field: str) -> bool:
    """Whether a field is there, which a message, a text or a list says in its own way."""
    return any(descriptor.name == field for descriptor, _ in message.ListFields())


def _retries(policy: Any) -> str:
    """In so many words, unless they are Istio's default."""
    attempts = policy.num_retries.value if policy.HasField("num_retries") else 1
    more = policy.retriable_status_codes or any(map(policy.HasField, _RETRY_SETTINGS))
    if attempts == 0 or ((attempts, policy.retry_on) == (_DEFAULT_RETRIES, _DEFAULT_RETRY_ON) and not more):
        return ""
    return f"retries ({attempts} on {policy.retry_on})"


def _of_choice(cluster: Any) -> Iterator[str]:
    """Which endpoint a call goes to."""
    policy = cluster.LbPolicy.Name(cluster.lb_policy)
    if policy in ("RING_HASH", "MAGLEV"):
        yield f"loadBalancer.consistentHash ({policy})"


def _of_cluster(cluster: Any) -> Iterator[str]:
    yield from _of_choice(cluster)
    for threshold in cluster.circuit_breakers.thresholds:
        if threshold.priority == 0:
            for field, name in _THRESHOLDS.items():
                if threshold.HasField(field) and getattr(threshold, field).value != _NO_LIMIT:
                    yield f"{name} ({getattr(threshold, field).value})"
    if cluster.HasField("outlier_detection"):
        yield "outlierDetection"
    if any(getattr(cluster, field).HasField("slow_start_config") for field in _POLICIES):
        yield "loadBalancer.warmup"
    if cluster.common_lb_config.HasField("locality_weighted_lb_config"):
        yield "loadBalancer.localityLbSetting.distribute"
    if cluster.upstream_connection_options.HasField("tcp_keepalive"):
        yield "connectionPool.tcp.tcpKeepalive"
    yield from _of_connections(cluster)


def _of_connections(cluster: Any) -> Iterator[str]:
    options = http_protocol_options_pb2.HttpProtocolOptions()
    if _OPTIONS in cluster.typed_extension_protocol_options:
        try:
            options.ParseFromString(cluster.typed_extension_protocol_options[_OPTIONS].value)
        except WireError:
            yield _OPTIONS
            return
    for field, name in _HTTP_OPTIONS.items():
        if options.common_http_protocol_options.HasField(field):
            yield name
    if options.explicit_http_config.http2_protocol_options.HasField("max_concurrent_streams"):
        yield "connectionPool.http.maxConcurrentStreams"
