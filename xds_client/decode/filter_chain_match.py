"""FilterChainMatch to the model (envoy/config/listener/v3/listener_components.proto). Pure functions.

Refused is what Envoy refuses (source/common/listener_manager/filter_chain_manager_impl.cc), so that both keep the last
good listener for the same reasons.
"""

from __future__ import annotations

import ipaddress
import itertools
import math
from typing import TYPE_CHECKING, Any

from xds_client.decode.fields import FieldError, each, known_name
from xds_client.model import FilterChain, FilterChainMatch, Network, SourceType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_PORT = 65535
# Of all chains of a listener. istiod makes about ten of each port; lists that multiply make billions of a kilobyte.
_MAX_COMBINATIONS = 100_000


def filter_chain_match(message: Any) -> FilterChainMatch:
    if message.address_suffix or message.HasField("suffix_len"):
        raise FieldError("address_suffix", "is not implemented, in Envoy neither")
    return FilterChainMatch(
        destination_port=_port("destination_port", message.destination_port.value) if _has_port(message) else None,
        prefix_ranges=each("prefix_ranges", network, message.prefix_ranges),
        server_names=each("server_names", _server_name, message.server_names),
        transport_protocol=message.transport_protocol,
        application_protocols=tuple(message.application_protocols),
        direct_source_prefix_ranges=each("direct_source_prefix_ranges", network, message.direct_source_prefix_ranges),
        source_type=known_name(message, "source_type", SourceType),
        source_prefix_ranges=each("source_prefix_ranges", network, message.source_prefix_ranges),
        source_ports=tuple(_port("source_ports", port) for port in message.source_ports),
    )


def refuse_overlaps(chains: Iterable[FilterChain]) -> None:
    """No two chains may be for one and the same connection: which of them took it would be chance."""
    taken: dict[tuple[object, ...], str] = {}
    left = _MAX_COMBINATIONS
    for number, chain in enumerate(chains):
        left -= math.prod(len(values) for values in _lists(chain.match))
        if left < 0:
            raise FieldError(
                f"filter_chains[{number}].filter_chain_match",
                f"with it the chains stand for more than {_MAX_COMBINATIONS} combinations",
            )
        for key in _keys(chain.match):
            if key in taken:
                raise FieldError(
                    f"filter_chains[{number}].filter_chain_match", f"overlaps with that of chain {taken[key]!r}"
                )
            taken[key] = chain.name


def _keys(match: FilterChainMatch) -> Iterator[tuple[object, ...]]:
    """Every combination that the match's lists stand for; an empty list says nothing, which is one value too."""
    for combination in itertools.product(*_lists(match)):
        yield (match.destination_port, match.transport_protocol, match.source_type, *combination)


def _lists(match: FilterChainMatch) -> list[tuple[object, ...]]:
    lists: list[tuple[object, ...]] = [
        match.prefix_ranges,
        match.server_names,
        match.application_protocols,
        match.direct_source_prefix_ranges,
        match.source_prefix_ranges,
        match.source_ports,
    ]
    return [values or (None,) for values in lists]


def _has_port(message: Any) -> bool:
    return bool(message.HasField("destination_port"))


def _port(field: str, number: int) -> int:
    if not 0 < number <= _MAX_PORT:
        raise FieldError(field, f"{number} is not a port")
    return number


def network(message: Any) -> Network:
    """A CidrRange; host bits are cut off, as Envoy does."""
    written = f"{message.address_prefix}/{message.prefix_len.value}"
    try:
        return ipaddress.ip_network(written, strict=False)
    except ValueError:
        raise FieldError("address_prefix", f"{written!r} is not a range of addresses") from None


def _server_name(name: str) -> str:
    if "*" in name.removeprefix("*."):
        raise FieldError("", f"{name!r}: partial wildcards are not possible")
    return name.lower()
