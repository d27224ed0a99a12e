"""One connection to one address, made again when it is lost. Dialling is the driver's; what it means is decided here.

                 claim()             opened(link)
    IDLE ───────────────▶ CONNECTING ─────────────▶ READY
     ▲ ▲                      │ failed(error)          │ lost()
     │ └── back-off over ── FAILED ◀──────────────┐    │
     └─────────────────────────────────────────────────┘

Called from any thread. Only `claim` needs the lock: one thread wins the right to dial.
Back-off: grpc/doc/connection-backoff.md (1 s, then 1.6 times the last, ±20 %, at most 120 s).
A connection that follows one of another security to the same address is patient at first: the control plane tells
both ends of a change, but not at one moment. A dial that fails is then repeated soon, and calls wait and do not fail.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc import census

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientLink, Tally
    from rpc.security import Security

CHANNEL_CLOSED = "Channel closed!"
_INITIAL, _MULTIPLIER, _JITTER, _MAX = 1.0, 1.6, 0.2, 120.0
_PATIENCE, _SOON = 3.0, 0.1  # seconds that the other end has to hear of the change too; between dials until then


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """What makes two endpoints share a connection. ``security`` None is plaintext."""

    address: str
    port: int
    security: Security | None = None

    def __str__(self) -> str:
        if self.address.startswith("unix"):
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


class Connection:
    """``link`` is the engine's connection while READY, else None. ``error`` is why the last dial failed."""

    __slots__ = (
        "_attempts",
        "_closed",
        "_dialling",
        "_former",
        "_lock",
        "_past",
        "_patient_until",
        "_retry_at",
        "connect_timeout",
        "error",
        "key",
        "link",
        "number",
        "on_change",
        "socket",
    )

    def __init__(
        self, key: ConnectionKey, connect_timeout: float, on_change: Callable[[], None], *, follows: bool = False
    ) -> None:
        """``follows``: there is one to the same address whose security is another."""
        self.key = key
        self.connect_timeout = connect_timeout
        self.on_change = on_change
        self.number = census.number()
        self.link: ClientLink | None = None
        self.socket = 0  # the link's number
        self.error: str | None = None
        self._former: list[ClientLink] = []  # take no new calls, and may still carry some
        self._past = census.NOTHING
        self._lock = threading.Lock()
        self._dialling = False
        self._closed = False
        self._attempts = 0
        self._retry_at = 0.0
        self._patient_until = time.monotonic() + _PATIENCE if follows else 0.0

    @property
    def dialling(self) -> bool:
        return self._dialling

    @property
    def retry_in(self) -> float:
        """Seconds until a dial is allowed again; 0 when it is."""
        return max(0.0, self._retry_at - time.monotonic()) if self.link is None else 0.0

    @property
    def idle(self) -> bool:
        """A dial is allowed now and nobody is at it."""
        return self.link is None and not self._dialling and self.retry_in == 0.0

    def claim(self) -> bool:
        """Take the right to dial; who gets True must call `opened` or `failed`."""
        with self._lock:
            if self._closed or not self.idle:
                return False
            self._dialling = True
            return True

    def opened(self, link: ClientLink) -> None:
        with self._lock:
            self._dialling = False
            closed = self._closed
            if not closed:
                self.link, self.error, self._attempts, self._retry_at = link, None, 0, 0.0
                self.socket = census.number()
        if closed:
            link.close(CHANNEL_CLOSED)
        elif not link.usable:  # lost before it was found
            self.lost()
        self.on_change()

    def failed(self, error: str) -> None:
        with self._lock:
            jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load, no secret
            now = time.monotonic()
            if now < self._patient_until:
                self._retry_at = now + _SOON * jitter
            else:
                self._retry_at = now + min(_INITIAL * _MULTIPLIER**self._attempts, _MAX) * jitter
                self._attempts += 1
                self.error = error
            self._dialling = False
        self.on_change()

    def lost(self) -> None:
        """The engine says that no new call can use the link. Calls in progress on it go on; it ends after them."""
        with self._lock:
            link, self.link = self.link, None
            self._former = [former for former in self._former if not self._over(former)]
            if link is not None:
                self._former.append(link)
        self.on_change()

    def _over(self, link: ClientLink) -> bool:
        if link.ended is None:
            return False
        self._past = census.total((self._past, link.tally()))
        return True

    def tally(self) -> Tally:
        """What all its links have carried."""
        with self._lock:
            links = [*self._former, *([self.link] if self.link is not None else [])]
            return census.total((self._past, *(link.tally() for link in links)))

    def inherit(self) -> None:
        """As new. In the child of a fork the link is the parent's, and who was dialling is not here."""
        self._lock = threading.Lock()
        self.link, self.error, self._former = None, None, []
        self._dialling = False
        self._attempts = 0

    def close(self, *, drain: bool) -> None:
        """No new calls. With ``drain`` those in progress may finish, else they fail."""
        with self._lock:
            self._closed = True
            link, self.link = self.link, None
        if link is not None:
            if drain:
                link.drain()
            else:
                link.close(CHANNEL_CLOSED)
