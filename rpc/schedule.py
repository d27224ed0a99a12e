"""What is to be done later, of all channels and servers: one thread of the process, which ends when nothing is left."""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from xds_client.threads import begun

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(f"proxyless.{__name__}")


class Scheduled:
    """Something that is to be done; until then it can be cancelled, by any thread."""

    __slots__ = ("_schedule", "job")

    def __init__(self, schedule: Schedule, job: Callable[[], object]) -> None:
        self._schedule = schedule
        self.job: Callable[[], object] | None = job

    def cancel(self) -> None:
        self.job = None
        self._schedule.look()


class _Entry(NamedTuple):
    at: float  # by the clock
    number: int
    later: Scheduled


class Schedule:
    """Jobs are short: they begin what takes its time. Any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.inherit()

    def inherit(self) -> None:
        """In the child of a fork: what waited is the parent's."""
        self._changed = threading.Condition()  # of an RLock: the garbage collector may cancel from anywhere
        self._entries: list[_Entry] = []
        self._number = itertools.count().__next__
        self._thread: threading.Thread | None = None

    def after(self, seconds: float, job: Callable[[], object]) -> Scheduled | None:
        """None: the system has no thread to give now; nothing will be done."""
        later = Scheduled(self, job)
        with self._changed:
            if self._thread is None:
                self._thread = begun(self._run, "timers")
            if self._thread is None:
                return None
            heapq.heappush(self._entries, _Entry(self.clock() + seconds, self._number(), later))
            self._changed.notify()
        return later

    def look(self) -> None:
        """Something was cancelled, or it is later than the clock let expect."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:  # the others must not suffer from it
                _log.exception("what was to be done later raised")

    def _next(self) -> Callable[[], object] | None:
        """What is due, once it is; None: nothing is left, and the thread ends."""
        with self._changed:
            while True:
                if any(entry.later.job is None for entry in self._entries):
                    self._entries = [entry for entry in self._entries if entry.later.job is not None]
                    heapq.heapify(self._entries)
                if not self._entries:
                    self._thread = None
                    return None
                left = self._entries[0].at - self.clock()
                if left <= 0:
                    job = heapq.heappop(self._entries).later.job
                    if job is not None:
                        return job
                else:
                    self._changed.wait(left)


schedule = Schedule()
os.register_at_fork(after_in_child=schedule.inherit)
