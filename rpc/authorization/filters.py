"""Which filters of the mesh's inbound listener a call is as well protected without. Policy only: pure functions.

They count, exchange metadata, look, or end the chain. What else a chain demands somebody has to carry out
(`rpc.authorization.program`), or the chain is closed: an unknown inbound filter (lua, wasm, ...) must not fail open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.authorization.program import is_carried_out
from xds_client.model import ChainKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xds_client.inbound import PortChains
    from xds_client.model import Filter, FilterChain

_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_STATS = "stats.PluginConfig"  # istio.stats, in both stacks
_HTTP = {
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    "io.istio.http.peer_metadata.Config",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    _ROUTER,
    _STATS,
}
_NETWORK = {"envoy.tcp.metadataexchange.config.MetadataExchange", _STATS}
_OF_CONNECTIONS = "envoy.extensions.filters.network.rbac.v3.RBAC"  # `rpc.authorization.connections`
# Only as they stand in the listener: what such a filter contains is judged when it is decoded.
_LAST = {
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
}
_LISTENER = {
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
}


def not_carried_out(port: PortChains, chain: FilterChain) -> str:
    """What stands in a connection's way, by name and type, that nobody would carry out; empty: nothing."""
    return ", ".join(_shown(found) for found in _not_carried_out(port, chain))


def _not_carried_out(port: PortChains, chain: FilterChain) -> Iterator[Filter]:
    yield from (f for f in port.listener_filters if f.discovered or f.type not in _LISTENER)
    *before, last = chain.network_filters or (None,)
    for found in before:
        known = found is None or found.type in _NETWORK or (found.type == _OF_CONNECTIONS and not found.discovered)
        if found is not None and not known:
            yield found
    if last is not None and (last.discovered or last.type not in _LAST or chain.kind is ChainKind.OTHER):
        yield last
    for found in chain.http_filters:
        known = found.type in _HTTP or (is_carried_out(found.type) and not found.discovered)
        if not known or (found.discovered and found.type == _ROUTER):
            yield found


def _shown(found: Filter) -> str:
    return f"{found.name} ({found.unknown or found.type or 'a filter without a type'})"
