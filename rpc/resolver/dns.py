"""A name with all its addresses, looked up again when a connection is lost or fails; for round robin.

With pick first the name itself is the one endpoint, which is looked up whenever it is dialled (`static`).
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from rpc.fork import generation
from rpc.resolver.static import endpoints_config, written
from rpc.transport.sockets import look_up
from xds_client.model import Endpoint, LbPolicy
from xds_client.threads import begun

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.model import TargetConfig, TargetMissing

_log = logging.getLogger(f"proxyless.{__name__}")


class DnsResolution:
    """``pause``: how many seconds lie between two look-ups at least (grpc.dns_min_time_between_resolutions_ms)."""

    identity = None
    authority = None

    def __init__(self, host: str, port: int, pause: float) -> None:
        self._host, self._port, self._pause = host, port, pause
        self._on_config: Callable[[TargetConfig | TargetMissing], None] | None = None
        self._lock = threading.Lock()
        self._busy = False
        self._again_at = 0.0
        self._last: tuple[Endpoint, ...] = ()
        self._generation = generation()

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        self._on_config = on_config
        self.refresh()

    def resume(self) -> None:
        if self._generation != generation():  # the parent's look-up does not end here
            self._generation, self._lock, self._busy = generation(), threading.Lock(), False
            if not self._last:
                self.refresh()

    def refresh(self) -> None:
        """Something is wrong with an address: look the name up again, when its time has come. Any thread."""
        with self._lock:
            if self._busy or self._on_config is None:
                return
            self._busy = True
        if begun(self._look_up, f"dns {self._host}") is None:
            self._done(self._unresolved())  # whoever misses an address asks again

    def waiting_for(self) -> str:
        return f"the addresses of {self._host}"

    def close(self) -> None:
        self._on_config = None

    def _look_up(self) -> None:
        time.sleep(max(0.0, self._again_at - time.monotonic()))
        self._again_at = time.monotonic() + self._pause
        self._done(self._endpoints())

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
            return self._unresolved()
        addresses = sorted({str(address[0]) for *_, address in found})
        return tuple(Endpoint(address, self._port) for address in addresses)

    def _unresolved(self) -> tuple[Endpoint, ...]:
        """What was good may still be; a name that never was is dialled, fails by its name, and is tried again."""
        return self._last or (Endpoint(self._host, self._port),)
