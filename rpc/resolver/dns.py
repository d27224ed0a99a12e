"""A name with all its addresses, looked up again when a connection is lost, politely or not, or fails; for round robin.

With pick first the name itself is the one endpoint, which is looked up whenever it is dialled (`static`).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from rpc.fork import generation
from rpc.resolver.static import endpoints_config, written
from rpc.transport.backoff import USUAL
from rpc.transport.sockets import look_up
from rpc.weakly import weakly
from xds_client.model import Endpoint, LbPolicy
from xds_client.threads import begun, begun_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.model import TargetConfig, TargetMissing

_log = logging.getLogger(f"proxyless.{__name__}")


class DnsResolution:
    """``pause``: how many seconds lie between two look-ups at least (grpc.dns_min_time_between_resolutions_ms).

    ``refresh_after``: so many after one the next follows by itself (proxyless.dns_refresh_ms); a look-up that failed is
    repeated by itself in any case, after gRPC's back-off.
    """

    identity = None
    authority = None

    def __init__(self, host: str, port: int, pause: float, refresh_after: float | None = None) -> None:
        self._host, self._port, self._pause, self._refresh_after = host, port, pause, refresh_after
        self._on_config: Callable[[TargetConfig | TargetMissing], None] | None = None
        self._lock = threading.Lock()
        self._busy = False  # a look-up goes on, or is to begin at its time
        self._again_at = 0.0
        self._failures = 0  # look-ups in a row
        self._timers: dict[str, threading.Timer] = {}  # what is to begin later
        self._last: tuple[Endpoint, ...] = ()
        self._generation = generation()

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        self._on_config = on_config
        self.refresh()

    def resume(self) -> None:
        if self._generation != generation():  # the parent's look-up does not end here
            self._generation, self._lock, self._busy, self._timers = generation(), threading.Lock(), False, {}
            if not self._last or self._refresh_after is not None:
                self.refresh()

    def refresh(self) -> None:
        """Something is wrong with an address: look the name up again, when its time has come. Any thread."""
        with self._lock:
            if self._busy or self._on_config is None:
                return
            self._busy = True
        self._begin(self._look_up, self._again_at - time.monotonic())

    def waiting_for(self) -> str:
        return f"the addresses of {self._host}"

    def close(self) -> None:
        self._on_config = None
        for timer in self._timers.values():
            timer.cancel()

    def _begin(self, job: Callable[[], None], seconds: float) -> None:
        """In a thread, which keeps nobody's channel while it waits. Without: whoever misses an address asks again."""
        before = self._timers.pop(job.__name__, None)
        if before is not None:
            before.cancel()
        if seconds <= 0:
            if begun(job, f"dns {self._host}") is None:
                self._done(self._unresolved())
            return
        timer = begun_after(seconds, weakly(job), f"dns {self._host}")
        if timer is not None:
            self._timers[job.__name__] = timer
        elif job == self._look_up:
            self._done(self._unresolved())

    def _look_up(self) -> None:
        if self._on_config is None:
            return
        self._again_at = time.monotonic() + self._pause
        endpoints = self._endpoints()
        if self._failures:
            self._again_at = time.monotonic() + USUAL.after(self._failures - 1)
            self._begin(self.refresh, self._again_at - time.monotonic())
        elif self._refresh_after is not None:
            self._begin(self.refresh, self._refresh_after)
        self._done(endpoints)

    def _done(self, endpoints: tuple[Endpoint, ...]) -> None:
        with self._lock:
            self._busy = False
        if self._on_config is not None and endpoints != self._last:
            self._last = endpoints
            name = written(self._host, self._port)
            self._on_config(endpoints_config(name, endpoints, LbPolicy.ROUND_ROBIN, self._host, self._port))

    def _endpoints(self) -> tuple[Endpoint, ...]:
        try:
            found = look_up(self._host, self._port)
        except OSError as error:
            _log.info("%s was not resolved: %s", self._host, error)
            self._failures += 1
            return self._unresolved()
        self._failures = 0
        addresses = sorted({str(address[0]) for *_, address in found})
        return tuple(Endpoint(address, self._port) for address in addresses)

    def _unresolved(self) -> tuple[Endpoint, ...]:
        """What was good may still be; a name that never was is dialled, and fails by its name."""
        return self._last or (Endpoint(self._host, self._port),)
