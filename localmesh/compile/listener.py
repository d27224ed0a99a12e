"""virtualInbound: the filter chains of a node's own ports, by the policies that hold for it. Pure.

Follows istiod's `pilot/pkg/networking/core/listener_inbound.go` and `filterchain_options.go`: the same names, matches
and order, because a server picks its chain by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.inbound import INBOUND_PORT, PASSTHROUGH, RESERVED_PORTS, by_port, inbound_name
from localmesh.compile.inbound_filters import Chain, connection_manager, tcp_proxy
from localmesh.compile.inspectors import listener_filters
from localmesh.compile.tls import downstream_socket
from localmesh.config.peer_authentication import MtlsMode
from localmesh.config.service_entry import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmesh.compile.guards import Guard
    from localmesh.compile.mesh import Mesh
    from localmesh.compile.peer_policy import PeerPolicy
    from localmesh.compile.registry import Target
    from localmesh.compile.view import View

NAME = "virtualInbound"
_CATCH_ALL_HTTP = f"{NAME}-catchall-http"
_BLACK_HOLE = "BlackHoleCluster"
_TLS, _PLAINTEXT = "tls", "raw_buffer"

# What a client offers by ALPN tells which chain it gets; what a chain negotiates never begins with "istio", but for
# TCP between Envoys.
_MTLS_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
_MTLS_TCP = ("istio-peer-exchange", "istio")
_ANY_MTLS = ("istio", "istio-peer-exchange", *_MTLS_HTTP)
_PLAINTEXT_HTTP = ("http/1.1", "h2c")
_HTTP_ALPN = ("h2", "http/1.1")
_TCP_ALPN = ("istio-peer-exchange", *_HTTP_ALPN)


@dataclass(frozen=True, slots=True)
class _Match:
    """Which connections a chain takes, and what it makes of them."""

    transport: str
    offered: tuple[str, ...] = ()
    http: bool = False
    mtls: bool = False


_STRICT_HTTP = (_Match(_TLS, http=True, mtls=True),)
_STRICT_TCP = (_Match(_TLS, mtls=True),)
_STRICT_SNIFFED = (_Match(_TLS, _MTLS_HTTP, http=True, mtls=True), _Match(_TLS, mtls=True))
_PERMISSIVE_HTTP = (_Match(_TLS, _ANY_MTLS, http=True, mtls=True), _Match(_PLAINTEXT, http=True))
_PERMISSIVE_TCP = (_Match(_TLS, _ANY_MTLS, mtls=True), _Match(_TLS), _Match(_PLAINTEXT))
_PERMISSIVE_SNIFFED = (
    _Match(_TLS, _MTLS_HTTP, http=True, mtls=True),
    _Match(_PLAINTEXT, _PLAINTEXT_HTTP, http=True),
    _Match(_TLS, _MTLS_TCP, mtls=True),
    _Match(_PLAINTEXT),
    _Match(_TLS),
)
_DISABLED_HTTP = (_Match(_PLAINTEXT, http=True),)
_DISABLED_TCP = (_Match(_PLAINTEXT),)
_DISABLED_SNIFFED = (_Match(_PLAINTEXT, _PLAINTEXT_HTTP, http=True), _Match(_PLAINTEXT))
_MATCHES = {  # for HTTP, TCP and ports without a declared protocol
    MtlsMode.STRICT: (_STRICT_HTTP, _STRICT_TCP, _STRICT_SNIFFED),
    MtlsMode.PERMISSIVE: (_PERMISSIVE_HTTP, _PERMISSIVE_TCP, _PERMISSIVE_SNIFFED),
    MtlsMode.DISABLE: (_DISABLED_HTTP, _DISABLED_TCP, _DISABLED_SNIFFED),
}


def virtual_inbound(targets: list[Target], mesh: Mesh, view: View) -> xds.listener.Listener:
    """First what no service leads to, then the ports of services in their order; Envoy takes the best match anyway."""
    policy = mesh.peers.for_workload(view.namespace, dict(view.labels))
    trust_domains, guard = mesh.config.trust_domains, mesh.guards.of(view)
    any_address = "0.0.0.0" if view.has_ipv4 else "::"  # noqa: S104  # it is said to Envoy, not listened on
    ports = {port: there[0] for port, there in by_port(targets).items() if port not in RESERVED_PORTS}
    chains = [_black_hole()]
    for passthrough in _passthroughs(policy, [target.number for target in targets]):
        chains += _filter_chains(passthrough, policy.at(passthrough.number), trust_domains, guard)
    for number, target in ports.items():
        chains += _filter_chains(_chain(number, target, any_address), policy.at(number), trust_domains, guard)
    return xds.listener.Listener(
        name=NAME,
        address=xds.core.Address(socket_address=xds.core.SocketAddress(address=any_address, port_value=INBOUND_PORT)),
        filter_chains=chains,
        listener_filters=listener_filters(chains),
        listener_filters_timeout=timedelta(0),
        traffic_direction=xds.core.TrafficDirection.INBOUND,
        continue_on_listener_filters_timeout=True,
        max_connections_to_accept_per_socket_event={"value": 1},
    )


def _chain(number: int, target: Target, any_address: str) -> Chain:
    name = f"{any_address}_{number}"
    return Chain(
        name=name,
        http_name=name,
        stat_prefix=f"inbound_{name};",
        cluster=inbound_name(number),
        number=number,
        service_port=target.port.number,
        hostname=target.service.hostname,
        protocol=target.port.parsed_protocol,
    )


def _passthroughs(policy: PeerPolicy, served: list[int]) -> Iterator[Chain]:
    """For all ports, and for those that a policy names and no service leads to (ForPassthrough)."""
    for number in (0, *sorted(policy.ports)):
        if number not in served:
            yield Chain(
                name=NAME,
                http_name=_CATCH_ALL_HTTP,
                stat_prefix=f"{PASSTHROUGH};",
                cluster=PASSTHROUGH,
                number=number,
                service_port=0,
                hostname="",
                protocol=Protocol.SNIFFED,
            )


def _filter_chains(
    chain: Chain, mode: MtlsMode, trust_domains: tuple[str, ...], guard: Guard
) -> Iterator[xds.listener.FilterChain]:
    for_http, for_tcp, for_sniffed = _MATCHES[mode]
    sniffed = chain.protocol is Protocol.SNIFFED
    for match in for_sniffed if sniffed else for_http if chain.protocol.has_routes else for_tcp:
        alpn = _HTTP_ALPN if match.http else _TCP_ALPN
        yield xds.listener.FilterChain(
            name=chain.http_name if match.http else chain.name,
            filter_chain_match=xds.listener.FilterChainMatch(
                destination_port=xds.wrapped(chain.number or None),
                transport_protocol=match.transport,
                application_protocols=list(match.offered),
            ),
            filters=[connection_manager(chain, guard)] if match.http else [*guard.tcp, tcp_proxy(chain.cluster)],
            transport_socket=downstream_socket(alpn, trust_domains) if match.mtls else None,
        )


def _black_hole() -> xds.listener.FilterChain:
    """Nobody is redirected from the listener's own port; who connects to it would be sent round and round."""
    return xds.listener.FilterChain(
        name=f"{NAME}-blackhole",
        filter_chain_match=xds.listener.FilterChainMatch(destination_port={"value": INBOUND_PORT}),
        filters=[tcp_proxy(_BLACK_HOLE)],
    )
