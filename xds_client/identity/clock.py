"""The two clocks of a certificate: the one that measures how long we have had it, and the one that its dates are in."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def _uptime() -> float:
    """Seconds that pass while the machine sleeps too: a certificate does not live longer in a suspended laptop."""
    return time.clock_gettime(_UPTIME)


# Linux's CLOCK_MONOTONIC stands still in suspension and CLOCK_BOOTTIME does not; elsewhere the former is what there is.
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """``monotonic`` in seconds from anywhere; ``now`` aware; ``spread(low, high)`` is the jitter's random number."""

    monotonic: Callable[[], float] = _uptime
    now: Callable[[], datetime] = _utc_now
    spread: Callable[[float, float], float] = random.uniform


SYSTEM_CLOCK = Clock()
