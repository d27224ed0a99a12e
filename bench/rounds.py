"""Interleaved rounds of one row (ours, rival, peers; the next round backwards) and what they come to."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.processes import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    peers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """By the name of a `bench.peers.Peer`."""

    @property
    def ratios(self) -> list[float]:
        return self._ratios_to(self.rival)

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def ratio_to(self, peer: str) -> float:
        return statistics.median(self._ratios_to(self.peers[peer]))

    def _ratios_to(self, others: tuple[float, ...]) -> list[float]:
        return [self.row.ratio(ours, other) for ours, other in zip(self.ours, others, strict=True)]


def measure(row: Row, plan: Plan, cores: Cores, progress: Callable[[str], None], peers: Iterable[str] = ()) -> Result:
    """Raises `bench.processes.WorkerError`. Processes start and warm up once a row."""
    begun = time.monotonic()
    beside = list(peers) if row.beside_peers else []
    ends = [row.ours, row.rival, *((peer, peer) for peer in beside)]
    values: list[list[float]] = [[] for _ in ends]
    with ExitStack() as opened:
        pairs = [opened.enter_context(Pair(row, *each, cores)) for each in ends]
        for pair in pairs:
            pair.connect()
        for pair in pairs:
            pair.run(plan.warm_up)
        for number in range(1, plan.rounds + 1):
            turns = list(zip(pairs, values, strict=True))
            # Nobody always comes after the same one.
            for pair, kept in turns if number % 2 else reversed(turns):
                kept.append(row.value(pair.run(plan.seconds)))
            said = " / ".join(f"{kept[-1]:,.1f}" for kept in values)
            progress(f"{row.name}  round {number} of {plan.rounds}: {said}")
            used = time.monotonic() - begun
            if plan.row_seconds is not None and used + used / number > plan.row_seconds:
                break
    ours, rival, *others = map(tuple, values)
    return Result(row, ours, rival, dict(zip(beside, others, strict=True)))
