"""Threads of our own for what an event loop must not wait for: never the loop's own few, which handlers may fill.

They are daemons that come with a job and go when there is none, so that nothing is held up at the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """At most so many threads at a time; further jobs wait their turn, the first first."""

    def __init__(self, name: str, most: int) -> None:
        self._name, self._most = name, most
        self._inherit()
        os.register_at_fork(after_in_child=self._inherit)

    def _inherit(self) -> None:
        """In the child of a fork the jobs, and the threads, are the parent's."""
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._threads = 0

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """In a thread; the running loop has the result. It is OSError where there is no thread to be had."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[R] = loop.create_future()

        def job() -> None:
            if result.cancelled():
                return
            try:
                value = function(*args, **kwargs)
            except BaseException as error:
                _settle(loop, result, functools.partial(result.set_exception, _for_a_loop(error)))
            else:
                _settle(loop, result, functools.partial(result.set_result, value))

        try:
            self._put(job)
        except (RuntimeError, MemoryError) as error:
            result.set_exception(OSError(errno.EAGAIN, f"no thread to be had: {error}"))
        return result

    def _put(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._jobs.append(job)
            if self._threads >= self._most:
                return
            self._threads += 1
        try:
            must_begin(self._work, self._name)
        except (RuntimeError, MemoryError):
            with self._lock:
                self._threads -= 1
                if self._threads or job not in self._jobs:  # another thread has it, or will
                    return
                self._jobs.remove(job)
            raise

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._threads -= 1
                    return
                job = self._jobs.popleft()
            job()


def _for_a_loop(error: BaseException) -> Exception:
    """What ends a thread must not end a loop; and a future takes no StopIteration."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the thread ended: {error!r}")


def _settle(loop: asyncio.AbstractEventLoop, result: asyncio.Future[R], settle: Callable[[], None]) -> None:
    def unless_cancelled() -> None:
        if not result.done():
            settle()

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there
        loop.call_soon_threadsafe(unless_cancelled)


# Names are looked up by the system, which may take its time: many at once, and not behind anybody's code.
LOOK_UPS = Workers("rpc look-up", 32)
# Plugins of call credentials are users' code, and may block.
PLUGINS = Workers("rpc credentials", 64)
