"""Points in time on the monotonic clock, from and to the time-outs (seconds) that callers and the engine speak."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def deadline_of(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def sooner(deadline: float | None, other: float) -> float:
    return other if deadline is None or other < deadline else deadline


def time_left(deadline: float | None, clock: Callable[[], float] = time.monotonic) -> float | None:
    """May be negative: the deadline has passed."""
    return None if deadline is None else deadline - clock()


def time_remaining(deadline: float | None, clock: Callable[[], float] = time.monotonic) -> float | None:
    """As grpc's calls say it: never negative."""
    return None if deadline is None else max(0.0, deadline - clock())
