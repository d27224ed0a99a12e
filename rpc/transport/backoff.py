"""How long from one attempt to the next (grpc/doc/connection-backoff.md): each time longer, up to a bound."""

from __future__ import annotations

import random
from dataclasses import dataclass

_INITIAL, _MOST, _MULTIPLIER, _JITTER = 1.0, 120.0, 1.6, 0.2


@dataclass(frozen=True, slots=True)
class Backoff:
    """``initial`` and ``most`` in seconds; ``steady``: every time the same, exactly."""

    initial: float = _INITIAL
    most: float = _MOST
    steady: bool = False

    def after(self, failures: int) -> float:
        """Seconds from one attempt to the next, behind so many in a row that failed before it."""
        if self.steady:
            return self.initial
        return min(self.initial * _MULTIPLIER ** min(failures, 50), self.most) * jitter()


USUAL = Backoff()


def jitter() -> float:
    return random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, no secret
