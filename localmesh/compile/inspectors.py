"""What Envoy looks at before it picks a filter chain, and at which ports it does not look: from the chains. Pure.

Follows istiod's `populateListenerFilters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmesh import xds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

_LISTENER = "envoy.filters.listener."
_TLS_BUFFER = 512
_SNIFFED = ("http/1.1", "h2c")  # who sends these in plaintext is told by the first bytes
_Predicate = xds.listener.ListenerFilterChainMatchPredicate


@dataclass(slots=True)
class _Needs:
    tls: bool = False
    http: bool = False


def listener_filters(chains: Iterable[xds.listener.FilterChain]) -> list[xds.listener.ListenerFilter]:
    needs: dict[int, _Needs] = {}
    for chain in chains:
        match = chain.filter_chain_match
        there = needs.setdefault(match.destination_port.value, _Needs())
        there.tls |= match.transport_protocol == "tls"
        there.http |= any(protocol in _SNIFFED for protocol in match.application_protocols)
    filters = [_filter("original_dst", xds.original_dst.OriginalDst())]
    if any(need.tls for need in needs.values()):
        config = xds.tls_inspector.TlsInspector(initial_read_buffer_size={"value": _TLS_BUFFER})
        inspector = _filter("tls_inspector", config)
        _disable(inspector, _without_tls(needs))
        filters.append(inspector)
    if any(need.http for need in needs.values()):
        inspector = _filter("http_inspector", xds.http_inspector.HttpInspector())
        _disable(inspector, _among(port for port, need in needs.items() if not need.http))
        filters.append(inspector)
    return filters


def _disable(
    inspector: xds.listener.ListenerFilter, where: xds.listener.ListenerFilterChainMatchPredicate | None
) -> None:
    if where is not None:
        inspector.filter_disabled.CopyFrom(where)


def _without_tls(needs: dict[int, _Needs]) -> xds.listener.ListenerFilterChainMatchPredicate | None:
    """Where all other ports need it, those that do not; else all but those that do."""
    everywhere = needs.get(0, _Needs()).tls
    ports = [port for port, need in needs.items() if port and need.tls is not everywhere]
    found = _among(ports)
    return found if everywhere or found is None else _Predicate(not_match=found)


def _among(ports: Iterable[int]) -> xds.listener.ListenerFilterChainMatchPredicate | None:
    ranges = [
        _Predicate(destination_port_range=xds.types.Int32Range(start=port, end=port + 1)) for port in sorted(ports)
    ]
    if len(ranges) > 1:
        return _Predicate(or_match={"rules": ranges})
    return ranges[0] if ranges else None


def _filter(name: str, config: Message) -> xds.listener.ListenerFilter:
    return xds.listener.ListenerFilter(name=_LISTENER + name, typed_config=xds.any_of(config))
