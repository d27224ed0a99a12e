"""Brings configurations from the exchanger to channels, on a thread of the process's own.

Building what calls work from takes its time where endpoints are many; the exchanger's thread goes on meanwhile, to the
next push. Each channel gets the newest configuration only, and those with few endpoints do not wait behind the large
(nor these without end behind those).
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import TYPE_CHECKING

from xds_client.model import TargetConfig, TargetMissing
from xds_client.threads import begun

if TYPE_CHECKING:
    from collections.abc import Callable

    Told = TargetConfig | TargetMissing

_log = logging.getLogger(f"proxyless.{__name__}")

_LARGE = 500  # endpoints, which are built in some ten milliseconds
_SMALL_IN_A_ROW = 20  # that a large one lets go before it


class Newest:
    """One channel's. `put` is for one thread at a time, `close` for any."""

    def __init__(self, on_config: Callable[[Told], None]) -> None:
        self.on_config: Callable[[Told], None] | None = on_config
        self._told: Told | None = None

    def put(self, told: Told) -> None:
        with _builder.changed:
            waits, self._told = self._told is not None, told
            taken = waits or _builder.add(self, large=_endpoints(told) >= _LARGE)
        if not taken:
            _builder.build_here()

    def close(self) -> None:
        self.on_config = None

    def take(self) -> Told | None:
        """Under the builder's lock."""
        told, self._told = self._told, None
        return told


def _endpoints(told: Told) -> int:
    if isinstance(told, TargetMissing):
        return 0
    assignments = (cluster.endpoints for cluster in told.clusters if cluster.endpoints is not None)
    return sum(len(locality.endpoints) for assignment in assignments for locality in assignment.localities)


class _Builder:
    """The thread, and who waits for it: few endpoints first, but not without end."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._small: deque[Newest] = deque()
        self._large: deque[Newest] = deque()
        self._in_a_row = 0  # small ones that went before a large one since the last of those
        self._thread: threading.Thread | None = None

    def inherit(self) -> None:
        """In the child of a fork: its exchanger tells everything anew."""
        for newest in (*self._small, *self._large):
            newest.take()
        self.changed = threading.Condition()
        self._small, self._large, self._in_a_row, self._thread = deque(), deque(), 0, None

    def add(self, newest: Newest, *, large: bool) -> bool:
        """Under the lock. False: there is no thread to be had, and `build_here` is wanted when the lock is free."""
        (self._large if large else self._small).append(newest)
        if self._thread is None:
            self._thread = begun(self._run, "mesh-configurations")
        self.changed.notify()
        return self._thread is not None

    def build_here(self) -> None:
        """All that waits, on this thread: slowly is better than never."""
        while self._waits():
            self._build_next()

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(self._waits)
            self._build_next()

    def _waits(self) -> bool:
        return bool(self._small or self._large)

    def _next(self) -> Newest | None:
        if self._large and (not self._small or self._in_a_row >= _SMALL_IN_A_ROW):
            self._in_a_row = 0
            return self._large.popleft()
        if not self._small:
            return None
        self._in_a_row += bool(self._large)
        return self._small.popleft()

    def _build_next(self) -> None:
        with self.changed:
            newest = self._next()
            if newest is None:
                return
            told, on_config = newest.take(), newest.on_config
        if told is not None and on_config is not None:
            try:
                on_config(told)
            except Exception:  # a bug of ours must cost one configuration of one channel, not all from now on
                _log.exception("a configuration could not be used; the last good one stays")


_builder = _Builder()
os.register_at_fork(after_in_child=_builder.inherit)
