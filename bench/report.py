"""The table for people and the list for programs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from bench.peers import PEERS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from bench.rounds import Result

_PEERS_TITLE = "how near the limit we are (in brackets: ours against it, above 1 ours is better)"
_HEAD = ("", "ours", "min-max", "grpcio", "min-max", "unit", "ratio", "min-max")


def table(results: Iterable[Result]) -> str:
    """Medians, what they scattered between, and the ratio (above 1: ours is better)."""
    return aligned([_HEAD, *(_line(result) for result in results)], left={0, 5})


def aligned(lines: Sequence[Sequence[str]], left: Container[int]) -> str:
    """In columns; those of ``left`` hold words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _line(result: Result) -> tuple[str, ...]:
    low, high = min(result.ratios), max(result.ratios)
    return (
        result.row.name,
        *_median_and_range(result.ours),
        *_median_and_range(result.rival),
        result.row.unit,
        f"{result.ratio:.2f}x",
        f"{low:.2f}-{high:.2f}",
    )


def _median_and_range(values: Sequence[float]) -> tuple[str, str]:
    return _number(statistics.median(values)), f"{_number(min(values))}-{_number(max(values))}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}"


def peers_table(results: Iterable[Result], absent: Mapping[str, str]) -> str:
    """``absent``: why a peer has no numbers."""
    lines = [("", "unit", "ours", "grpcio", *(peer.title for peer in PEERS.values()))]
    for result in results:
        if result.row.beside_peers:
            peers = (
                "absent" if name in absent else _beside(result.peers[name], result.ratio_to(name)) for name in PEERS
            )
            ours, grpcio = _number(statistics.median(result.ours)), _beside(result.rival, result.ratio)
            lines.append((result.row.name, result.row.unit, ours, grpcio, *peers))
    reasons = [f"{PEERS[name].title} is absent: {reason}" for name, reason in absent.items()]
    return "\n".join([_PEERS_TITLE, aligned(lines, left={0, 1}), *reasons])


def _beside(values: Sequence[float], ratio: float) -> str:
    return f"{_number(statistics.median(values))} ({ratio:.2f}x)"


def as_json(results: Iterable[Result], absent: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """A row beside grpcio, then one ``NAME_vs_PEER`` each beside its peers; one that is absent says why."""
    entries = []
    for result in results:
        entries.append(_entry(result, "", result.rival, result.ratio))
        for name, values in result.peers.items():
            entries.append(_entry(result, f"_vs_{name}", values, result.ratio_to(name)))
        for name, reason in (absent or {}).items() if result.row.beside_peers else ():
            entries.append(_entry(result, f"_vs_{name}", None, None) | {"absent": reason})
    return entries


def _entry(result: Result, suffix: str, rival: Sequence[float] | None, ratio: float | None) -> dict[str, Any]:
    return {
        "name": result.row.name + suffix,
        "ours": round(statistics.median(result.ours), 3),
        "rival": None if rival is None else round(statistics.median(rival), 3),
        "unit": result.row.unit,
        "ratio": None if ratio is None else round(ratio, 3),
    }
