"""Keeping a loop awake for a moment after something was sent, while it pays.

What comes next from a peer on the same machine often comes sooner than an idle core would wake. So the loop makes empty
turns meanwhile. Each does whatever there is to do, by anybody: nothing is delayed by it but sleep. How long, and when
not, is as for threads (native/src/drive/busy.rs).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_MOMENT = 75e-6  # seconds
_FORGIVEN = 3  # so many moments in vain, one after the other, are no reason to stop
_RAREST = 8  # in the end one occasion in 2 ** _RAREST is tried


class Awake:
    """One per hub. ``asked``: the option `proxyless.busy_poll_us` in seconds; None: a moment, while it pays."""

    __slots__ = ("_arrivals", "_ends", "_heard", "_passes", "_staying", "_vain", "asked")

    def __init__(self, asked: float | None) -> None:
        self.asked = asked
        self._arrivals = 0
        self._heard = 0
        self._ends = 0.0
        self._staying = False
        self._vain = 0  # moments in a row
        self._passes = 0  # so many occasions are let pass

    def sent(self, loop: asyncio.AbstractEventLoop) -> None:
        """Something has left, in the loop: an answer may come, or the next request."""
        span = _MOMENT if self.asked is None else self.asked
        if self.asked is None and self._passes:
            self._passes -= 1
            return
        if not span:
            return
        self._heard = self._arrivals
        self._ends = time.monotonic() + span
        if not self._staying:
            self._staying = True
            loop.call_soon(self._stay, loop)

    def arrived(self) -> None:
        self._arrivals += 1

    def _stay(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._arrivals != self._heard:
            self._staying = False
            self._vain = 0
        elif time.monotonic() < self._ends:
            loop.call_soon(self._stay, loop)
        else:
            self._staying = False
            self._vain = min(self._vain + 1, _FORGIVEN + _RAREST)
            self._passes = (1 << max(0, self._vain - _FORGIVEN)) - 1
