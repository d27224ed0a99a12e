"""Listener to the model (envoy/config/listener/v3). Called by `Parsed.value`; pure functions.

What cannot be honoured closes what it stands in, a chain or the whole listener: the last good form might let more in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from envoy.extensions.filters.network.http_connection_manager.v3 import (  # type: ignore[import-untyped]
    http_connection_manager_pb2,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2  # type: ignore[import-untyped]

from xds_client.decode.connection_manager import connection_manager
from xds_client.decode.fields import UnsupportedError, each, inside, refuse_unknown_fields, unpacked
from xds_client.decode.filter_chain_match import filter_chain_match, refuse_overlaps
from xds_client.decode.filters import connection_filter, http_filters
from xds_client.decode.inbound_traffic import refuse_unless_bytes_are_passed_on, refuse_unless_http_is_passed_on
from xds_client.decode.listener_filter import inspector
from xds_client.decode.tls import downstream_socket
from xds_client.model import ChainKind, Deferred, DownstreamTls, FilterChain, Listener

if TYPE_CHECKING:
    from collections.abc import Callable


def listener(message: Any) -> Listener:
    where = message.address.socket_address
    found = Listener(
        name=message.name,
        address=where.address,
        port=where.port_value,
        listener_filters=tuple(map(connection_filter, message.listener_filters)),
        tls_inspector=inspector("tls_inspector.v3.TlsInspector", message.listener_filters),
        http_inspector=inspector("http_inspector.v3.HttpInspector", message.listener_filters),
    )
    for field in ("filter_chain_matcher", "fcds_config"):
        if message.HasField(field):
            return replace(found, default_filter_chain=FilterChain("", unusable=f"{field}: is not supported"))
    chains = each("filter_chains", _chain, message.filter_chains)
    refuse_overlaps(chains)
    default = inside("default_filter_chain", _chain, message.default_filter_chain) if _has_default(message) else None
    return replace(found, filter_chains=chains, default_filter_chain=default)


def _has_default(message: Any) -> bool:
    return bool(message.HasField("default_filter_chain"))


def _chain(message: Any) -> FilterChain:
    chain = FilterChain(
        name=message.name,
        match=inside("filter_chain_match", filter_chain_match, message.filter_chain_match),
        kind=ChainKind.OTHER,
        network_filters=tuple(map(connection_filter, message.filters)),
    )
    if message.use_proxy_proto.value:
        return replace(chain, unusable="use_proxy_proto: is not supported")
    try:
        refuse_unknown_fields(message)  # its match, above all; what is packed in it is looked at where it is opened
        chain = replace(chain, tls=_tls(message))
        return _with_terminal(chain, message.filters)
    except UnsupportedError as error:
        return replace(chain, unusable=f"{error.field}: {error.reason}")


def _tls(message: Any) -> DownstreamTls | None:
    if not message.HasField("transport_socket"):
        return None
    return inside("transport_socket", downstream_socket, message.transport_socket)


def _with_terminal(chain: FilterChain, filters: Any) -> FilterChain:
    """What becomes of the connection in the end; Envoy closes one whose chain has no filters."""
    if not filters:
        return replace(chain, unusable="filters: there are none")
    place, packed = f"filters[{len(filters) - 1}].typed_config", filters[-1].typed_config
    if packed.Is(http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR):
        http = inside(place, lambda p: unpacked(p, http_connection_manager_pb2.HttpConnectionManager), packed)
        filters = inside(place, http_filters, http)
        manager = Deferred(bytes(packed.value), connection_manager)
        chain = replace(chain, kind=ChainKind.HTTP, http_filters=filters, packed_http=manager)
        return _unless_passed_on(chain, place, refuse_unless_http_is_passed_on, http)
    if packed.Is(tcp_proxy_pb2.TcpProxy.DESCRIPTOR):
        tcp = inside(place, lambda p: unpacked(p, tcp_proxy_pb2.TcpProxy), packed)
        return _unless_passed_on(replace(chain, kind=ChainKind.TCP), place, refuse_unless_bytes_are_passed_on, tcp)
    return chain


def _unless_passed_on(chain: FilterChain, place: str, check: Callable[[Any], None], terminal: Any) -> FilterChain:
    """Closed, and what else is known of it stays to be seen."""
    try:
        inside(place, check, terminal)
    except UnsupportedError as error:
        return replace(chain, unusable=f"{error.field}: {error.reason}")
    return chain
