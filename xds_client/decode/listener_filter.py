"""Listener filters that look at the first bytes, and the ports where they do not. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds_client.decode.extensions import type_of
from xds_client.decode.fields import FieldError, each, inside
from xds_client.model import Inspector

if TYPE_CHECKING:
    from collections.abc import Iterable

# Sorted, and apart from each other; (first, beyond).
_Ports = tuple[tuple[int, int], ...]
_ALL: _Ports = ((0, 65536),)


def inspector(kind: str, filters: Any) -> Inspector | None:
    """The inspector of this type (``tls_inspector.v3.TlsInspector``); of several, what any of them looks at."""
    wanted = f"envoy.extensions.filters.listener.{kind}"
    found = [(number, f) for number, f in enumerate(filters) if type_of(f.typed_config) == wanted]
    if not found:
        return None
    disabled = [
        inside(f"listener_filters[{number}].filter_disabled", _ports, f.filter_disabled)
        if f.HasField("filter_disabled")
        else ()
        for number, f in found
    ]
    return Inspector(_intersection(disabled))


def _ports(predicate: Any) -> _Ports:
    """Where a ListenerFilterChainMatchPredicate is true."""
    rule = predicate.WhichOneof("rule")
    if rule == "destination_port_range":
        asked = predicate.destination_port_range
        start, end = max(asked.start, 0), min(asked.end, 65536)
        return ((start, end),) if start < end else ()
    if rule == "any_match":
        return _ALL
    if rule == "not_match":
        return _complement(inside(rule, _ports, predicate.not_match))
    if rule == "or_match":
        return _union(each(f"{rule}.rules", _ports, predicate.or_match.rules))
    if rule == "and_match":
        return _intersection(each(f"{rule}.rules", _ports, predicate.and_match.rules))
    raise FieldError(rule or "rule", "is not a condition this release evaluates")


def _union(sets: Iterable[_Ports]) -> _Ports:
    merged: list[tuple[int, int]] = []
    for first, beyond in sorted(r for ranges in sets for r in ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], beyond))
        else:
            merged.append((first, beyond))
    return tuple(merged)


def _complement(ranges: _Ports) -> _Ports:
    edges = [0, *(edge for r in ranges for edge in r), 65536]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)


def _intersection(sets: Iterable[_Ports]) -> _Ports:
    return _complement(_union(_complement(ranges) for ranges in sets))  # pair by pair they would multiply
