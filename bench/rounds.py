"""Interleaved rounds of one row (ours, rival, ours, rival, …) and what they come to."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.processes import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.processes import Cores
    from bench.rows import Row


@dataclass(frozen=True)
class Plan:
    """How long to measure. With ``row_seconds`` a row that takes longer gets fewer rounds, never none."""

    rounds: int
    seconds: float
    warm_up: float
    row_seconds: float | None = None


@dataclass(frozen=True)
class Result:
    """The values of each round, in order."""

    row: Row
    ours: tuple[float, ...]
    rival: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return [self.row.ratio(ours, rival) for ours, rival in zip(self.ours, self.rival, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)


def measure(row: Row, plan: Plan, cores: Cores, progress: Callable[[str], None]) -> Result:
    """Raises `bench.processes.WorkerError`. Processes start and warm up once a row."""
    begun = time.monotonic()
    values: tuple[list[float], list[float]] = ([], [])
    with Pair(row, *row.ours, cores) as ours, Pair(row, *row.rival, cores) as rival:
        pairs = (ours, rival)
        for pair in pairs:
            pair.connect()
        for pair in pairs:
            pair.run(plan.warm_up)
        for number in range(1, plan.rounds + 1):
            for pair, kept in zip(pairs, values, strict=True):
                kept.append(row.value(pair.run(plan.seconds)))
            progress(f"{row.name}  round {number} of {plan.rounds}: {values[0][-1]:,.1f} / {values[1][-1]:,.1f}")
            used = time.monotonic() - begun
            if plan.row_seconds is not None and used + used / number > plan.row_seconds:
                break
    return Result(row, tuple(values[0]), tuple(values[1]))
