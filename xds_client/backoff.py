"""How long to wait from one attempt to the next: each time longer, up to a bound, and spread at random."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Backoff:
    """``initial`` and ``most`` in seconds, before they are spread by ``jitter``, a share of them, both ways.

    What is not said is as gRPC has it for connections (grpc/doc/connection-backoff.md).
    """

    initial: float = 1.0
    most: float = 120.0
    multiplier: float = 1.6
    jitter: float = 0.2

    def after(self, failures: int, spread: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds from one attempt to the next, behind so many in a row that failed before it.

        ``spread(low, high)`` is the random number between the two.
        """
        try:
            grown = self.initial * self.multiplier**failures
        except OverflowError:  # after days of failures
            grown = self.most
        return min(grown, self.most) * spread(1 - self.jitter, 1 + self.jitter)


USUAL = Backoff()
