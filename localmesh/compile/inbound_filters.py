"""What a filter chain of virtualInbound does with a connection: HTTP to the port behind it, or bytes. Pure.

Follows istiod's `buildSidecarInboundHTTPOpts` and `buildSidecarInboundHTTPRouteConfig`. Left out is what only an Envoy
with Istio's own filters can do: metadata exchange, and the tags of traces.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.config.mesh_config import Normalization
from localmesh.config.service_entry import Protocol

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from localmesh.compile.guards import Guard

_manager = xds.http_connection_manager
_FOR_EVER = timedelta(0)
_HTTP = "envoy.filters.http."
_NETWORK = "envoy.filters.network."
_MERGING = (Normalization.MERGE_SLASHES, Normalization.DECODE_AND_MERGE_SLASHES)


@dataclass(frozen=True, slots=True)
class Chain:
    """One port of a node, or (number 0) all that have no chain of their own."""

    name: str
    http_name: str
    stat_prefix: str
    cluster: str
    number: int
    service_port: int
    hostname: str
    protocol: Protocol


def tcp_proxy(cluster: str) -> xds.listener.Filter:
    return _filter(f"{_NETWORK}tcp_proxy", xds.tcp_proxy.TcpProxy(stat_prefix=cluster, cluster=cluster))


def connection_manager(chain: Chain, guard: Guard) -> xds.listener.Filter:
    manager = _manager.HttpConnectionManager(
        stat_prefix=chain.stat_prefix,
        route_config=_routes(chain),
        http_filters=[*guard.http, *_http_filters()],
        http2_protocol_options=xds.core.Http2ProtocolOptions() if chain.protocol.is_http2 else None,
        server_name="istio-envoy",
        use_remote_address={"value": False},
        forward_client_cert_details=_manager.HttpConnectionManager.APPEND_FORWARD,
        set_current_client_cert_details={"subject": {"value": True}, "dns": True, "uri": True},
        proxy_100_continue=True,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        stream_idle_timeout=_FOR_EVER,
        normalize_path={"value": guard.paths is not Normalization.NONE},
        merge_slashes=guard.paths in _MERGING,
        request_id_extension={
            "typed_config": xds.any_of(xds.uuid.UuidRequestIdConfig(use_request_id_for_trace_sampling={"value": True}))
        },
        path_with_escaped_slashes_action=(
            _manager.HttpConnectionManager.UNESCAPE_AND_FORWARD
            if guard.paths is Normalization.DECODE_AND_MERGE_SLASHES
            else _manager.HttpConnectionManager.KEEP_UNCHANGED
        ),
    )
    return _filter(f"{_NETWORK}http_connection_manager", manager)


def _filter(name: str, config: Message) -> xds.listener.Filter:
    return xds.listener.Filter(name=name, typed_config=xds.any_of(config))


def _http_filters() -> list[xds.http_connection_manager.HttpFilter]:
    filters: dict[str, Message] = {
        "grpc_stats": xds.grpc_stats.FilterConfig(emit_filter_state=True, stats_for_all_methods={"value": False}),
        "fault": xds.fault.HTTPFault(),
        "cors": xds.cors.Cors(),
        "router": xds.router.Router(),
    }
    return [_manager.HttpFilter(name=_HTTP + name, typed_config=xds.any_of(config)) for name, config in filters.items()]


def _routes(chain: Chain) -> xds.route.RouteConfiguration:
    """Everything goes to the port; the caller has said when to give up."""
    action = xds.route.RouteAction(
        cluster=chain.cluster,
        timeout=_FOR_EVER,
        max_stream_duration={"max_stream_duration": _FOR_EVER, "grpc_timeout_header_max": _FOR_EVER},
    )
    if chain.protocol not in (Protocol.GRPC, Protocol.GRPC_WEB):  # it would harm streams
        action.retry_policy.retry_on = "reset-before-request"
        action.retry_policy.num_retries.value = 2
    route = xds.route.Route(
        name="default",
        match=xds.route.RouteMatch(prefix="/"),
        route=action,
        decorator=xds.route.Decorator(operation=f"{chain.hostname}:{chain.service_port}/*"),
    )
    host = xds.route.VirtualHost(name=f"inbound|http|{chain.service_port}", domains=["*"], routes=[route])
    return xds.route.RouteConfiguration(name=chain.cluster, virtual_hosts=[host], validate_clusters={"value": False})
