"""Jobs that lead to jobs in the same thread: one after the other, never one inside the other.

An answer may be that a call has to be sent again, and sending it may bring the answers of other calls, and so on: a
connection that is lost with a thousand futures on it must not be a thousand calls deep.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from rpc.errors import all_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Turns(threading.local):
    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] | None = None


_turns = _Turns()


def in_turn(job: Callable[[], None]) -> None:
    """Run it now, or after the job of this thread that is running."""
    if _turns.waiting is not None:
        _turns.waiting.append(job)
        return
    waiting = _turns.waiting = deque([job])
    try:
        all_of(_taken(waiting), "going on with a call failed")
    finally:
        _turns.waiting = None


def _taken(waiting: deque[Callable[[], None]]) -> Iterator[Callable[[], None]]:
    while waiting:
        yield waiting.popleft()
