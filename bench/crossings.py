"""How often Python code calls into the engine, and what the bare crossing costs."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from rpc._native import Reactor

if TYPE_CHECKING:
    from types import FrameType

_LOOPS = 5_000
_REPEATS = 200


class Counter:
    """Counts calls of the engine's methods in this thread and those started from now on. It slows them down a lot."""

    def __init__(self) -> None:
        self.calls = 0
        threading.setprofile(self._seen)
        sys.setprofile(self._seen)

    def _seen(self, _: FrameType, event: str, called: object) -> None:
        if event == "c_call" and type(getattr(called, "__self__", None)).__module__ == Reactor.__module__:
            self.calls += 1


def cost() -> float:
    """Seconds of a call that does nothing but give the GIL away and take it back: there, arguments, result, back."""
    nothing = Reactor().drain
    calling, looping = [], []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for _ in range(_LOOPS):
            nothing()
        called = time.perf_counter()
        for _ in range(_LOOPS):
            pass
        calling.append(called - start)
        looping.append(time.perf_counter() - called)
    return (min(calling) - min(looping)) / _LOOPS
