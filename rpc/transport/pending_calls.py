"""Where calls wait for a stream: the queue of one subchannel whose transports have reached the server's limit of them.

First come, first served, as far as threads allow. Nothing here takes a lock: a plan that nobody holds any more leaves
from wherever the garbage collector happens to run. What changes the deque is one C call each.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class PendingCall:
    """A call that waits for a stream. ``woken``: there is something new to look at; ``on_event`` was told, too."""

    __slots__ = ("called", "on_event", "woken")

    def __init__(self) -> None:
        self.called = False
        self.woken = False
        self.on_event: Callable[[], None] | None = None  # set by who waits, before a look at `woken`

    def wake(self) -> None:
        self.woken = True
        on_event = self.on_event
        if on_event is not None:
            on_event()


class PendingCalls:
    """The pending calls of one subchannel, the next first. ``calls`` is to be looked at only."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: deque[PendingCall] = deque()

    def join(self, call: PendingCall, *, first: bool) -> None:
        """``first``: it was let try before, and another call was faster."""
        call.called = False
        if first:
            self.calls.appendleft(call)
        else:
            self.calls.append(call)

    def leave(self, call: PendingCall) -> None:
        try:
            self.calls.remove(call)
        except ValueError:
            return  # it was called

    def call(self, count: int) -> None:
        """So many may try now."""
        for _ in range(count):
            try:
                call = self.calls.popleft()
            except IndexError:
                return
            call.called = True
            call.wake()

    def wake_first(self) -> None:
        """The first sees to what all of them need."""
        try:
            first = self.calls[0]
        except IndexError:
            return
        first.wake()
