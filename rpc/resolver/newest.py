"""Brings configurations from the exchanger to channels, on a thread of the process's own.

Building what calls work from takes its time where endpoints are many; the exchanger's thread goes on meanwhile, to the
next push. Each channel gets the newest configuration only, and those with few endpoints do not wait behind the large.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
from typing import TYPE_CHECKING

from xds_client.model import TargetConfig, TargetMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    News = TargetConfig | TargetMissing

_log = logging.getLogger(__name__)

_LARGE = 500  # endpoints, which are built in some ten milliseconds


class Newest:
    """One channel's. `put` is for the exchanger's thread, `close` for any."""

    def __init__(self, on_config: Callable[[News], None]) -> None:
        self.on_config: Callable[[News], None] | None = on_config
        self._news: News | None = None

    def put(self, news: News) -> None:
        with _builder.changed:
            waits, self._news = self._news is not None, news
            if not waits:
                _builder.add(self, large=_endpoints(news) >= _LARGE)

    def close(self) -> None:
        self.on_config = None

    def take(self) -> News | None:
        """Under the builder's lock."""
        news, self._news = self._news, None
        return news


def _endpoints(news: News) -> int:
    if isinstance(news, TargetMissing):
        return 0
    assignments = (cluster.endpoints for cluster in news.clusters if cluster.endpoints is not None)
    return sum(len(locality.endpoints) for assignment in assignments for locality in assignment.localities)


class _Builder:
    """The thread, and who waits for it: few endpoints first, then first come, first served."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._count = itertools.count()
        self._waiting: list[tuple[bool, int, Newest]] = []
        self._thread: threading.Thread | None = None

    def inherit(self) -> None:
        """In the child of a fork: its exchanger tells everything anew."""
        for _, _, newest in self._waiting:
            newest.take()
        self.changed = threading.Condition()
        self._waiting, self._thread = [], None

    def add(self, newest: Newest, *, large: bool) -> None:
        heapq.heappush(self._waiting, (large, next(self._count), newest))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mesh-configurations", daemon=True)
            self._thread.start()
        self.changed.notify()

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: bool(self._waiting))
                newest = heapq.heappop(self._waiting)[2]
                news, on_config = newest.take(), newest.on_config
            if news is not None and on_config is not None:
                try:
                    on_config(news)
                except Exception:  # a bug of ours must cost one configuration of one channel, not all from now on
                    _log.exception("a configuration could not be used; the last good one stays")
            del newest, news, on_config  # a thread that waits keeps no channel alive


_builder = _Builder()
os.register_at_fork(after_in_child=_builder.inherit)
