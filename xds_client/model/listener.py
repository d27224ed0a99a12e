"""Listeners: which chain takes an accepted connection, and what each chain demands. Frozen values, no behaviour.

Field meanings are Envoy's (envoy/config/listener/v3); `xds_client.inbound` gives matches their effect. What a chain
does with calls (authorization, JWT) will stand beside its filters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.connection_manager import ConnectionManager
    from xds_client.model.filter import Filter
    from xds_client.model.tls import DownstreamTls
    from xds_client.model.values import Deferred

# The listener that istiod gives a sidecar for everything that comes in (pilot/pkg/model VirtualInboundListenerName).
VIRTUAL_INBOUND = "virtualInbound"

Network = IPv4Network | IPv6Network


class SourceType(Enum):
    ANY = "ANY"
    SAME_IP_OR_LOOPBACK = "SAME_IP_OR_LOOPBACK"
    EXTERNAL = "EXTERNAL"


class ChainKind(Enum):
    """What the last network filter makes of the connection."""

    HTTP = "http"
    TCP = "tcp"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FilterChainMatch:
    """Which connections a chain is for. What is empty or None says nothing about that property.

    ``transport_protocol`` is ``tls`` or ``raw_buffer``; ``server_names`` are lower case and may start with ``*.``;
    ``application_protocols`` are compared with the ALPN that the client offered, or with ``h2c``, ``http/1.1`` and
    ``http/1.0`` as recognised in plaintext.
    """

    destination_port: int | None = None
    prefix_ranges: tuple[Network, ...] = ()
    server_names: tuple[str, ...] = ()
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    direct_source_prefix_ranges: tuple[Network, ...] = ()
    source_type: SourceType = SourceType.ANY
    source_prefix_ranges: tuple[Network, ...] = ()
    source_ports: tuple[int, ...] = ()

    @property
    def by_source(self) -> bool:
        """Whether it is for some callers only, by their address; istiod's own listeners have none such."""
        ranges = self.direct_source_prefix_ranges or self.source_prefix_ranges
        return bool(ranges or self.source_ports) or self.source_type is not SourceType.ANY


@dataclass(frozen=True, slots=True)
class FilterChain:
    """``tls`` None: plaintext. ``unusable``: why connections that fall to it must be refused; empty: they may stay.

    The last of the ``network_filters`` is the terminal one; ``http_filters`` are in order too, behind a router come
    those that it has itself, and in the end those of upgrades. ``http``: what else its connection manager says, the
    routes above all, read of ``packed_http`` when first asked for; None where it ends in something else.
    """

    name: str
    match: FilterChainMatch = FilterChainMatch()
    tls: DownstreamTls | None = None
    kind: ChainKind = ChainKind.HTTP
    network_filters: tuple[Filter, ...] = ()
    http_filters: tuple[Filter, ...] = ()
    unusable: str = ""
    packed_http: Deferred[ConnectionManager] | None = field(default=None, repr=False)

    @property
    def http(self) -> ConnectionManager | None:
        return None if self.packed_http is None else self.packed_http.value


@dataclass(frozen=True, slots=True)
class Inspector:
    """A listener filter that looks at the first bytes; not at those that come to one of ``disabled_ports``.

    Each range is ``(first, beyond)``: the second port is the first one that is not meant any more.
    """

    disabled_ports: tuple[tuple[int, int], ...] = ()

    def looks_at(self, port: int) -> bool:
        return not any(first <= port < beyond for first, beyond in self.disabled_ports)


@dataclass(frozen=True, slots=True)
class Listener:
    """What comes in: filter chains, and what tells connections apart.

    ``tls_inspector`` None: nobody tells TLS from plaintext; ``http_inspector`` None: nor HTTP from anything else.

    ``listener_filters`` are all of them, in order.

    >>> listener = rpc.mesh().get_inbound(timeout=10)
    >>> listener.name
    'virtualInbound'
    >>> chain = next(chain for chain in listener.filter_chains if chain.match.destination_port)
    """

    name: str
    address: str = ""
    port: int = 0
    filter_chains: tuple[FilterChain, ...] = ()
    default_filter_chain: FilterChain | None = None
    listener_filters: tuple[Filter, ...] = ()
    tls_inspector: Inspector | None = None
    http_inspector: Inspector | None = None


@dataclass(frozen=True, slots=True)
class InboundMissing:
    """There is no inbound listener; ``reason`` names the asking node, what was answered and what to check.

    >>> told = Queue()
    >>> with rpc.mesh().observe_inbound(told.put):
    ...     isinstance(told.get(timeout=10), InboundMissing)  # else a Listener
    False
    """

    reason: str
