"""Says in the log what was rejected, but not all of it when there is no end to it. On the exchanger's thread only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.errors import DecodeError

logger = logging.getLogger(f"proxyless.{__name__}")

_LINES, _SECONDS = 10, 10.0  # so many lines in so much time
_LONGEST = 2000  # characters of one


class Rejections:
    """``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = float("-inf")
        self._said = 0
        self._unsaid = 0

    def say(self, error: DecodeError) -> None:
        """Each of the first few; then how many there were meanwhile, with the next that is said."""
        now = self._clock()
        if now - self._since >= _SECONDS:
            self._since, self._said = now, 0
        if self._said >= _LINES:
            self._unsaid += 1
            return
        self._said += 1
        more = f" (and {self._unsaid} more since the last such line; status() has them)" if self._unsaid else ""
        self._unsaid = 0
        logger.warning("rejected, the last good one stays: %s%s", str(error)[:_LONGEST], more)
