"""Warnings that a flood of requests could make a flood of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rpc.fork import ProcessLock

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

_PAUSE = 1.0  # seconds


class Seldom:
    """One line a second at most, with the number of those unsaid. Any thread."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._lock = ProcessLock()
        self._last = float("-inf")
        self._unsaid = 0

    def warn(self, text: str) -> None:
        more = self.due()
        if more is not None:
            self._log.warning("%s%s", text, more)

    def due(self) -> str | None:
        """What a line that is said now ends with; None: it is not said, but counted. For texts that cost."""
        with self._lock:
            now = self._clock()
            if now - self._last < _PAUSE:
                self._unsaid += 1
                return None
            more = f" ({self._unsaid} more since the last such line)" if self._unsaid else ""
            self._last, self._unsaid = now, 0
        return more
