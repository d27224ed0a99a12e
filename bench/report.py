"""The table for people and the list for programs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.rounds import Result

_HEAD = ("", "ours", "min-max", "grpcio", "min-max", "unit", "ratio", "min-max")
_LEFT = {0, 5}


def table(results: Iterable[Result]) -> str:
    """Medians, what they scattered between, and the ratio (above 1: ours is better)."""
    lines = [_HEAD, *(_line(result) for result in results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
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


def as_json(results: Iterable[Result]) -> list[dict[str, Any]]:
    return [
        {
            "name": result.row.name,
            "ours": round(statistics.median(result.ours), 3),
            "rival": round(statistics.median(result.rival), 3),
            "unit": result.row.unit,
            "ratio": round(result.ratio, 3),
        }
        for result in results
    ]
