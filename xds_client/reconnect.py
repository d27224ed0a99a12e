"""When to try again: jittered exponential delays. Confined to one thread."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from xds_client.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

# gRPC's back-off is 1 s growing by 1.6 up to 120 s, and Envoy's for xDS starts at 0.5 s and ends at 30 s. A client here
# has one stream, not one per target, and old configuration costs its user more than a refused SYN costs anybody (with
# no istiod behind the Service the node itself refuses it): so it starts as Envoy does and stops growing at 5 s. What
# protects an istiod that comes back is its own limit of new streams, whose refusals are failures here.
FIRST = 0.5
GROWTH = 1.6
LONGEST = 5.0
JITTER = 0.2


class ReconnectSchedule:
    """Counts the failures since the last success, and says how long to wait before the next attempt (seconds).

    >>> patient = ReconnectSchedule(first=1.0, longest=30.0)
    >>> with PilotExchanger(Bootstrap.load(), schedule=patient) as exchanger:
    ...     exchanger.status().connection.phase is not Phase.CLOSED
    True
    """

    def __init__(
        self,
        first: float = FIRST,
        longest: float = LONGEST,
        spread: Callable[[float, float], float] = random.uniform,
        *,
        growth: float = GROWTH,
        jitter: float = JITTER,
    ) -> None:
        self._backoff = Backoff(first, longest, growth, jitter)
        self._spread = spread
        self.failures = 0

    def failed(self) -> float:
        """Count a failure; the seconds to wait before the next attempt."""
        delay = self._backoff.after(self.failures, self._spread)
        self.failures += 1
        return delay

    def reset(self) -> None:
        self.failures = 0
