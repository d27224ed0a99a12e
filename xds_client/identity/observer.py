"""Who hears of new identities, and in which order: one call at a time, and never an older value after a newer one."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from xds_client.observers import ObserverHandle

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.identity.svid import Identity

logger = logging.getLogger(f"proxyless.{__name__}")


class IdentityObserver:
    """Two threads deliver: the one that observes, at first, and the source's. Whoever comes second leaves the value.

    The thread that is already calling back takes it from there, so no lock is held while a callback runs.
    """

    def __init__(self, callback: Callable[[Identity], object], on_close: Callable[[IdentityObserver], None]) -> None:
        self.handle = ObserverHandle(lambda: on_close(self))
        self._callback = callback
        self._lock = threading.Lock()
        self._newest = 0
        self._next: Identity | None = None
        self._delivering = False

    def inherit(self) -> None:
        """In the child of a fork: nobody is delivering."""
        self._lock = threading.Lock()
        self._delivering = False

    def deliver(self, serial: int, identity: Identity) -> None:
        """Call back, unless something as new was delivered already."""
        with self._lock:
            if serial <= self._newest:
                return
            self._newest, self._next = serial, identity
            if self._delivering:
                return
            self._delivering = True
        while (value := self._take()) is not None:
            try:
                self._callback(value)
            except Exception:  # one observer's bug must not cost the others their news, nor anybody the renewal
                logger.exception("observer %r of the mesh identity failed; it stays registered", self._callback)

    def _take(self) -> Identity | None:
        """What to deliver next; None ends the delivery."""
        with self._lock:
            value, self._next = self._next, None
            if value is None or self.handle.closed:
                self._delivering = False
                return None
            return value
