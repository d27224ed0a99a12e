"""The futures of one channel that wait for their connection, and the one thread that goes on with them.

The thread lives while there are any. Calls that a thread waits for wait in that thread.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rpc.blocking.turns import in_turn
from xds_client.threads import must_begin

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from rpc.core import ChannelCore
    from rpc.plan import Stand, Wait


class Waiting:
    """``changed`` is notified when ``core`` is different."""

    def __init__(self, core: ChannelCore, changed: threading.Condition) -> None:
        self._core = core
        self._changed = changed
        self._steps: list[tuple[Stand | Wait, Callable[[], None]]] = []
        self._thread: threading.Thread | None = None

    def add(self, step: Stand | Wait, then: Callable[[], None]) -> None:
        """Call ``then`` once, when the step is over. Any thread.

        Raises RuntimeError where there is no thread to be had; then nobody calls it.
        """
        with self._changed:
            if self._thread is None:  # it waits for the lock, and then there is a step
                self._thread = must_begin(self._run, "rpc futures")
            self._steps.append((step, then))
            self._changed.notify_all()

    def _run(self) -> None:
        while due := self._next():
            for then in due:
                in_turn(then)

    def _next(self) -> list[Callable[[], None]]:
        """Wait until some are over; none: the thread ends."""
        with self._changed:
            while self._steps:
                generation, now = self._core.generation, time.monotonic()
                over = [step.over(generation, now) for step, _ in self._steps]
                if any(over):
                    due = [then for (_, then), is_over in zip(self._steps, over, strict=True) if is_over]
                    self._steps = [kept for kept, is_over in zip(self._steps, over, strict=True) if not is_over]
                    return due
                self._changed.wait(self._left())
            self._thread = None
            return []

    def _left(self) -> float | None:
        ends = [step.until for step, _ in self._steps if step.until is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None
