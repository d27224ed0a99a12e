"""The calls of one channel that wait for something without a thread of their own, and the one that goes on with them.

The thread lives while there are any. Calls that a thread waits for wait in that thread.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from rpc.blocking.turns import in_turn
from xds_client.threads import must_begin

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from rpc.core import ChannelCore
    from rpc.steps import Answer, Listening, Wait


_log = logging.getLogger(f"proxyless.{__name__}")


class Waiting:
    """``changed`` is notified when ``core`` is different."""

    def __init__(self, core: ChannelCore, changed: threading.Condition) -> None:
        self._core = core
        self._changed = changed
        self._steps: dict[Callable[[Answer], None], Listening | Wait] = {}  # one of each call at a time
        self._thread: threading.Thread | None = None

    def add(self, step: Listening | Wait, then: Callable[[Answer], None]) -> None:
        """Call ``then`` once, when the step is over. Any thread.

        Raises RuntimeError where there is no thread to be had; then nobody calls it.
        """
        with self._changed:
            if self._thread is None:  # it waits for the lock, and then there is a step
                self._thread = must_begin(self._run, "rpc waiting calls")
            self._steps[then] = step
            self._changed.notify_all()

    def remove(self, then: Callable[[Answer], None]) -> bool:
        """It is not to be called any more; False: it is no step's that is waited for."""
        with self._changed:
            self._changed.notify_all()  # the thread has nothing to wait for, perhaps
            return self._steps.pop(then, None) is not None

    def _run(self) -> None:
        while due := self._next():
            for then in due:
                try:
                    in_turn(functools.partial(then, None))
                except BaseException:  # a callback of the user's wants to end its thread: this one is not its
                    _log.exception("going on with a call failed")

    def _next(self) -> list[Callable[[Answer], None]]:
        """Wait until some are over; none: the thread ends."""
        with self._changed:
            while self._steps:
                generation, now = self._core.generation, self._core.clock()
                due = [then for then, step in self._steps.items() if step.over(generation, now)]
                if due:
                    for then in due:
                        del self._steps[then]
                    return due
                self._changed.wait(self._left())
            self._thread = None
            return []

    def _left(self) -> float | None:
        ends = [step.until for step in self._steps.values() if step.until is not None]
        return max(0.0, min(ends) - self._core.clock()) if ends else None
