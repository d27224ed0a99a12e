"""Which filter chain takes an accepted connection: Envoy's rules, as pure functions over the model.

The theory (envoy/config/listener/v3/listener_components.proto and source/common/listener_manager/
filter_chain_manager_impl.cc): properties are looked at one after the other, in a fixed order. At each the most specific
value that some chain names is taken, and only chains that name it stay; chains that say nothing stay when no value
fits. There is no way back: when no chain is left later on, a less specific choice made earlier is not tried, and the
connection gets the default chain or is closed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from xds_client.model import Filter, FilterChain, Listener, Network, SourceType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TLS = "tls"
RAW_BUFFER = "raw_buffer"

T = TypeVar("T")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Chains = tuple[FilterChain, ...]
# Stands for an address that is not known or not IP: only ranges that hold everything hold it (filter_chain_manager).
_NO_ADDRESS = ipaddress.ip_address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class PortChains:
    """The chains that connections to one port may fall to, with port and destination address decided.

    ``inspects_tls`` False: nobody looks whether a connection starts TLS, and all are ``raw_buffer``. ``inspects_http``
    False: nobody looks for HTTP in plaintext, so it has no application protocols. ``declared`` False: no chain names
    the port, so to istiod it is no service's; if it should be one's, check the node's labels, IP and cluster id.
    ``listener_filters`` see every connection, whatever its chain.
    """

    chains: tuple[FilterChain, ...]
    default: FilterChain | None
    inspects_tls: bool
    inspects_http: bool
    declared: bool
    listener_filters: tuple[Filter, ...] = ()

    def match(
        self,
        *,
        transport_protocol: str,
        application_protocols: Sequence[str] = (),
        server_name: str = "",
        source_ip: str | None = None,
        source_port: int = 0,
        destination_ip: str | None = None,
    ) -> FilterChain | None:
        """The chain for a connection of which this was detected, or None: close it.

        ``application_protocols`` are what the client offers, in its order. Nothing stands between the client and this
        port that speaks the PROXY protocol, so its direct address and its own are one.
        """
        source, destination = _address(source_ip), _address(destination_ip)
        left = _by_server_name(self.chains, server_name.lower())
        left = _named(left, lambda c: (c.match.transport_protocol,), (transport_protocol, ""))
        left = _named(left, lambda c: c.match.application_protocols or ("",), (*application_protocols, ""))
        left = _by_range(left, lambda c: c.match.direct_source_prefix_ranges, source)
        left = _named(left, lambda c: (c.match.source_type,), _source_types(source, destination))
        left = _by_range(left, lambda c: c.match.source_prefix_ranges, source)
        left = _named(left, lambda c: c.match.source_ports or (0,), (source_port, 0))
        return left[0] if left else self.default


def match_chain(
    listener: Listener,
    *,
    destination_port: int,
    transport_protocol: str,
    application_protocols: Sequence[str] = (),
    server_name: str = "",
    source_ip: str | None = None,
    source_port: int = 0,
    destination_ip: str | None = None,
) -> FilterChain | None:
    """The chain that takes a connection, or None when it must be closed. See `PortChains.match`."""
    return chains_for_port(listener, destination_port, destination_ip).match(
        transport_protocol=transport_protocol,
        application_protocols=application_protocols,
        server_name=server_name,
        source_ip=source_ip,
        source_port=source_port,
        destination_ip=destination_ip,
    )


def chains_for_port(listener: Listener, port: int, destination_ip: str | None = None) -> PortChains:
    """What is left to decide for connections to ``port``: those chains that name it, or else those that name none."""
    left = _named(listener.filter_chains, lambda c: (c.match.destination_port,), (port, None))
    left = _by_range(left, lambda c: c.match.prefix_ranges, _address(destination_ip))
    tls, http = listener.tls_inspector, listener.http_inspector
    return PortChains(
        left,
        listener.default_filter_chain,
        inspects_tls=tls is not None and tls.looks_at(port),
        inspects_http=http is not None and http.looks_at(port),
        listener_filters=listener.listener_filters,
        declared=any(chain.match.destination_port == port for chain in listener.filter_chains),
    )


def _named(chains: _Chains, names: Callable[[FilterChain], Sequence[T]], wanted: Sequence[T]) -> _Chains:
    """The chains that name the first of ``wanted`` that any of them names; none if they name none of it."""
    for value in wanted:
        left = tuple(chain for chain in chains if value in names(chain))
        if left:
            return left
    return ()


def _by_server_name(chains: _Chains, server_name: str) -> _Chains:
    return _named(chains, lambda c: c.match.server_names or ("",), (server_name, *_wildcards(server_name), ""))


def _wildcards(server_name: str) -> Iterator[str]:
    """``a.b.c`` falls under ``*.b.c``, then under ``*.c``."""
    _, dot, rest = server_name[1:].partition(".")
    while dot and rest:
        yield f"*.{rest}"
        _, dot, rest = rest.partition(".")


def _by_range(chains: _Chains, ranges: Callable[[FilterChain], Sequence[Network]], address: _Address) -> _Chains:
    """Those of the longest prefix that holds the address; a chain without ranges has one of length 0."""

    def longest(chain: FilterChain) -> int:
        if not ranges(chain):
            return 0
        return max((r.prefixlen for r in ranges(chain) if r.version == address.version and address in r), default=-1)

    best = max(map(longest, chains), default=-1)
    return tuple(chain for chain in chains if longest(chain) == best) if best >= 0 else ()


def _source_types(source: _Address, destination: _Address) -> tuple[SourceType, SourceType]:
    known = source != _NO_ADDRESS
    if known and (source.is_loopback or source == destination):
        return (SourceType.SAME_IP_OR_LOOPBACK, SourceType.ANY)
    return (SourceType.EXTERNAL, SourceType.ANY)


def _address(text: str | None) -> _Address:
    if text is None:
        return _NO_ADDRESS
    address = ipaddress.ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
