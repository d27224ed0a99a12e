"""Where calls wait for a stream: the queue of one subchannel whose transports have reached the server's limit of them.

First come, first served, as far as threads allow. Nothing here takes a lock: a plan that nobody holds any more leaves
its place from wherever the garbage collector happens to run. What changes the deque is one C call each.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Place:
    """One call's. ``stirred``: there is something new for it to look at, which ``on_event`` was told, too."""

    __slots__ = ("called", "on_event", "stirred")

    def __init__(self) -> None:
        self.called = False
        self.stirred = False
        self.on_event: Callable[[], None] | None = None  # set by who waits, before a look at `stirred`

    def stir(self) -> None:
        self.stirred = True
        on_event = self.on_event
        if on_event is not None:
            on_event()


class Queue:
    """Of one subchannel's calls. ``places``: who is called next first; to be looked at only."""

    __slots__ = ("places",)

    def __init__(self) -> None:
        self.places: deque[Place] = deque()

    def join(self, place: Place, *, first: bool) -> None:
        """``first``: it was called before, and another call was faster."""
        place.called = False
        if first:
            self.places.appendleft(place)
        else:
            self.places.append(place)

    def leave(self, place: Place) -> None:
        try:
            self.places.remove(place)
        except ValueError:
            return  # it was called

    def call(self, count: int) -> None:
        """So many may try now."""
        for _ in range(count):
            try:
                place = self.places.popleft()
            except IndexError:
                return
            place.called = True
            place.stir()

    def stir_first(self) -> None:
        """Whoever is first sees to what all of them need."""
        try:
            first = self.places[0]
        except IndexError:
            return
        first.stir()
