"""A name's addresses, looked up again when a connection is lost, politely or not, or fails, and where asked to by time.

A look-up is a thread of its own while it goes on; what is to begin later waits in `schedule`. Any thread may call.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from rpc.fork import generation
from rpc.schedule import Schedule, schedule
from rpc.transport.sockets import look_up
from rpc.weakly import weakly
from xds_client.backoff import USUAL
from xds_client.threads import begun

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.schedule import Scheduled

_log = logging.getLogger(f"proxyless.{__name__}")

_NO_THREAD = "the system has no thread to give for looking it up"


class Name:
    """``pause``: how many seconds lie between two look-ups at least (grpc.dns_min_time_between_resolutions_ms).

    ``refresh_after``: so many after one the next follows by itself (proxyless.dns_refresh_ms); a look-up that failed is
    repeated by itself in any case, after gRPC's back-off. ``on_change`` is told when what is known is different now.
    ``schedule`` has the clock, too.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pause: float,
        refresh_after: float | None,
        on_change: Callable[[], None],
        schedule: Schedule = schedule,
    ) -> None:
        self.host = host
        self.addresses: tuple[str, ...] = ()  # the last that were found: what was good may still be
        self.error: str | None = None  # why the last look-up found none
        self.asked = False  # a look-up has ended
        self._port, self._pause, self._refresh_after = port, pause, refresh_after
        self._on_change = on_change
        self._schedule = schedule
        self._closed = False
        self._lock = threading.Lock()
        self._busy = False  # a look-up goes on, or is to begin at its time
        self._again_at = 0.0
        self._failures = 0  # look-ups in a row
        self._timers: dict[str, Scheduled] = {}  # what is to begin later
        self._generation = generation()

    def resume(self) -> None:
        """Go on in the child of a fork; otherwise nothing."""
        if self._generation != generation():  # the parent's look-up does not end here
            self._generation, self._lock, self._busy, self._timers = generation(), threading.Lock(), False, {}
            if not self.addresses or self._refresh_after is not None:
                self.refresh()

    def refresh(self) -> None:
        """Look the name up, when its time has come."""
        with self._lock:
            if self._busy or self._closed:
                return
            self._busy = True
        self._begin(self._look_up, self._again_at - self._schedule.clock())

    def close(self) -> None:
        self._closed = True
        for timer in tuple(self._timers.values()):
            timer.cancel()

    def _begin(self, job: Callable[[], None], seconds: float) -> None:
        """What waits keeps nobody's channel. Without a thread: whoever misses an address asks again.
        Nothing begins once it is closed, nor waits any more if it was closed meanwhile.
        """
        if self._closed:
            return
        before = self._timers.pop(job.__name__, None)
        if before is not None:
            before.cancel()
        if seconds <= 0:
            if begun(job, f"dns {self.host}") is None:
                self._done((), _NO_THREAD)
            return
        timer = self._schedule.after(seconds, weakly(self._look_up_now if job == self._look_up else job))
        if timer is not None:
            self._timers[job.__name__] = timer
            if self._closed:
                timer.cancel()
        elif job == self._look_up:
            self._done((), _NO_THREAD)

    def _look_up_now(self) -> None:
        self._begin(self._look_up, 0.0)

    def _look_up(self) -> None:
        if self._closed:
            return
        self._again_at = self._schedule.clock() + self._pause
        addresses, error = self._found()
        if self._failures:
            self._again_at = self._schedule.clock() + USUAL.after(self._failures - 1)
            self._begin(self.refresh, self._again_at - self._schedule.clock())
        elif self._refresh_after is not None:
            self._begin(self.refresh, self._refresh_after)
        self._done(addresses, error)

    def _done(self, addresses: tuple[str, ...], error: str | None) -> None:
        with self._lock:
            self._busy = False
            before = self.asked, self.addresses, self.error
            self.asked, self.error = True, error
            self.addresses = addresses or self.addresses
            changed = before != (True, self.addresses, error)
        if changed and not self._closed:
            self._on_change()

    def _found(self) -> tuple[tuple[str, ...], str | None]:
        try:
            found = look_up(self.host, self._port)
        except OSError as error:
            _log.info("%s was not resolved: %s", self.host, error)
            self._failures += 1
            return (), error.strerror or str(error)
        self._failures = 0
        return tuple(sorted({str(address[0]) for *_, address in found})), None
