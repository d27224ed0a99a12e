"""Keeping a loop awake for a moment after something was sent, while it pays.

What comes next from a peer on the same machine often comes sooner than an idle core would wake. So the loop makes empty
turns meanwhile. Each does whatever there is to do, by anybody: nothing is delayed by it but sleep. How long, and when
not, is as for threads (native/drive/src/busy.rs).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rpc.paying import Paying

if TYPE_CHECKING:
    import asyncio

_MOMENT = 75e-6  # seconds


class Awake:
    """One per reactor. ``asked``: the option `proxyless.busy_poll_us` in seconds; None: a moment, while it pays."""

    __slots__ = ("_arrivals", "_ends", "_heard", "_paying", "_staying", "asked")

    def __init__(self, asked: float | None) -> None:
        self.asked = asked
        self._arrivals = 0
        self._heard = 0
        self._ends = 0.0
        self._staying = False
        self._paying = Paying()

    def sent(self, loop: asyncio.AbstractEventLoop) -> None:
        """Something has left, in the loop: an answer may come, or the next request."""
        span = _MOMENT if self.asked is None else self.asked
        if not span or (self.asked is None and not self._paying.try_it()):
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
            self._paying.learn(paid=True)
        elif time.monotonic() < self._ends:
            loop.call_soon(self._stay, loop)
        else:
            self._staying = False
            self._paying.learn(paid=False)
