"""What is measured of a round: what was done, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Done:
    """One round: ``calls`` are calls, messages of a stream or connections. ``p50`` (seconds) of lone callers only."""

    calls: int
    seconds: float
    p50: float | None = None


class Usage(NamedTuple):
    """Seconds of CPU: exactly, and user's and system's in the kernel's coarse ticks."""

    exactly: float
    user: float
    system: float

    def since(self, before: Usage) -> Usage:
        return Usage(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass(frozen=True)
class Sample:
    """What a pair did in one round and what it cost: ``grown_bytes`` both processes together."""

    done: Done
    client: Usage
    server: Usage
    grown_bytes: int

    @property
    def cpu_seconds(self) -> float:
        return self.client.exactly + self.server.exactly
