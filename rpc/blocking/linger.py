# ruff: noqa: SLF001 - a pool does not say otherwise what waits in it and who is free (_LOOKED_AT)
"""Threads of the pool that linger: who has answered a call waits a moment for the next, and answers it in place.

A hop from the serving thread into the pool costs the waking of a thread, and its futexes. What arrives on open
connections is told to who lingers alone; timers and new connections stay the serving thread's, and so does all else as
soon as a handler begins, which may block. One thread lingers at a time, and only while nothing is queued in the pool,
ours or anybody's; what others queue then waits at most for the end of the moment.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rpc.paying import Paying

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rpc._native import Reactor, ServerCall

_MOMENT = 0.001  # seconds; epoll counts in milliseconds
# The same since Python 3.9.
_LOOKED_AT = ("_work_queue", "_idle_semaphore", "_threads", "_max_workers")


class Linger:
    """One per server."""

    def __init__(self, pool: Executor | None) -> None:
        # The threads of a pool that cannot be looked into go back at once, and those of one that does more with what it
        # is given than run it: it has to be given each call.
        plain = isinstance(pool, ThreadPoolExecutor) and type(pool).submit is ThreadPoolExecutor.submit
        self._pool: Any = pool if plain and all(hasattr(pool, name) for name in _LOOKED_AT) else None
        self._place = threading.Lock()
        self._paying = Paying()

    def inherit(self) -> None:
        """In the child of a fork: who lingered is the parent's."""
        self._place = threading.Lock()

    def calls(self, reactor: Reactor, *, alone: bool) -> list[ServerCall]:
        """What arrives within the moment; nothing when the thread is needed elsewhere. ``alone``: no call goes on."""
        if self._pool is None or not self._place.acquire(blocking=False):
            return []
        try:
            # Looked at in this order: what is queued from now on calls us back.
            if not self._pool._work_queue.empty() or not self._paying.try_it():
                return []
            calls = reactor.linger(_MOMENT, alone)
            self._paying.learn(paid=bool(calls))
            return calls
        finally:
            self._place.release()

    def others_free(self, running: int) -> bool:
        """A thread of the pool that does not linger can take what is queued next; ``running`` counts that, too.

        The pool's own count may be too high, for a while, and ours knows nothing of what others have in the pool.
        """
        pool = self._pool
        if pool is None:
            return True
        most = pool._max_workers
        return bool(running < most and (pool._idle_semaphore._value > 0 or len(pool._threads) < most))

    def call_back(self, reactor: Reactor) -> None:
        """By the serving thread: something was queued that only who lingers can take."""
        if self._place.locked():
            reactor.wake()
            self._place.acquire()  # soon: nobody else waits in the engine now, so it was who lingers that was woken
            self._place.release()
