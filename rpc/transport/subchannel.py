"""A channel's connection to one address, made again when it is lost: gRPC's subchannel. Each try is a transport.

Dialling is the driver's; what it means is decided here.

                 claim()             opened(transport)
    IDLE ───────────────▶ CONNECTING ─────────────▶ READY
     ▲ ▲                      │ failed(error)          │ lost()
     │ └── back-off over ── FAILED ◀── again unused ───┤
     └─────────────────────────────────────────────────┘

Called from any thread. Only `claim` needs the lock: one thread gets the right to dial.
Back-off: grpc/doc/connection-backoff.md (1 s, then 1.6 times the last, ±20 %, at most 120 s; options say otherwise).
A transport that ends before the server has answered anything on it, or has promised to (it leaves, and has taken a
call), is one that failed. The first is forgiven: a server that just leaves. From the second in a row on the next dial
waits, counted from when the last one began.
A subchannel that follows one of another security to the same address is patient at first: the control plane tells
both ends of a change, but not at one moment. A dial that fails is then repeated soon, and calls wait and do not fail.

While the server has no stream free for a call on any of its transports, calls queue here and one transport after the
other is added, up to a bound (gRFC A105). New calls go to one of them, ``transport``, until it is full, then to the
oldest that is not. The others end when they have been idle for a while, so that one remains.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc import channelz_registry
from rpc._native import Tally
from rpc.security.material import printable
from rpc.security.peer import agreed_on
from rpc.transport.pending_calls import PendingCall, PendingCalls
from xds_client.backoff import USUAL, Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientTransport
    from rpc.security import Security

CHANNEL_CLOSED = "Channel closed!"
_PATIENCE = 3.0  # seconds that the other end has to hear of the change too
_SOON = Backoff(initial=0.1, most=0.1, multiplier=1.0)  # between dials until then
_log = logging.getLogger(f"proxyless.{__name__}")
_SPARE_IDLE = 30.0  # seconds without a call, after which a transport goes that is not the one for new calls


@dataclass(frozen=True, slots=True)
class SubchannelKey:
    """What makes two endpoints share a subchannel. ``security`` None is plaintext."""

    address: str
    port: int
    security: Security | None = None

    def __str__(self) -> str:
        if self.address.startswith("unix"):
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def _nobody() -> None:
    pass


class Subchannel:
    """``transport`` is where new calls go while READY, else None. ``error`` is why the last dial failed."""

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_began",
        "_clock",
        "_closed",
        "_dialling",
        "_former",
        "_judged",
        "_lock",
        "_past",
        "_patient_until",
        "_retry_at",
        "_unused",
        "backoff",
        "bound",
        "connect_timeout",
        "error",
        "key",
        "number",
        "on_change",
        "on_missed",
        "pending",
        "transport",
        "transports",
    )

    def __init__(
        self,
        key: SubchannelKey,
        connect_timeout: float,
        on_change: Callable[[], None],
        *,
        on_missed: Callable[[], None] = _nobody,
        backoff: Backoff = USUAL,
        follows: bool = False,
        bound: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``on_missed``: told of a failed dial and of a lost transport. ``bound``: at most so many transports.
        ``follows``: there is one to the same address whose security is another.
        """
        self.key = key
        self.connect_timeout = connect_timeout
        self.on_change = on_change
        self.on_missed = on_missed
        self.backoff = backoff
        self.bound = bound
        self._clock = clock
        self.number = channelz_registry.number()
        self.transport: ClientTransport | None = None
        # All that take calls, by number, the oldest first; never changed, but replaced.
        self.transports: dict[int, ClientTransport] = {}
        self.pending = PendingCalls()
        self.error: str | None = None
        self._former: list[ClientTransport] = []  # take no new calls, and may still carry some
        self._past = Tally()
        self._lock = threading.Lock()
        self._dialling = False
        self._closed = False
        self._attempts = 0  # dials in a row that failed
        self._unused = 0  # transports in a row that ended before they had carried anything
        self._judged = 0.0  # when the last of them ended
        self._began = 0.0  # the last dial
        self._retry_at = 0.0
        self._patient_until = self._clock() + _PATIENCE if follows else 0.0

    @property
    def dialling(self) -> bool:
        return self._dialling

    @property
    def held_back(self) -> float:
        """Seconds until the back-off is over."""
        return max(0.0, self._retry_at - self._clock())

    @property
    def retry_in(self) -> float:
        """Seconds until a dial is allowed again; 0 when it is."""
        return self.held_back if self.transport is None else 0.0

    @property
    def idle(self) -> bool:
        """A dial is allowed now and nobody is at it."""
        return self.transport is None and not self._dialling and self.retry_in == 0.0

    @property
    def grows(self) -> bool:
        """Calls wait for a stream, and another transport may be dialled for them, once the back-off is over."""
        return (
            0 < len(self.transports) < self.bound
            and len(self.pending.calls) > 0
            and not self._dialling
            and not self._closed
        )

    def claim(self) -> bool:
        """Take the right to dial; who gets True must call `opened` or `failed`."""
        with self._lock:
            if self._closed or not (self.idle or (self.grows and self.held_back == 0.0)):
                return False
            self._dialling = True
            self._began = self._clock()
        _log.debug("%s: connecting, %s", self.key, "over TLS" if self.key.security is not None else "in plaintext")
        return True

    def opened(self, transport: ClientTransport) -> None:
        with self._lock:
            self._dialling = False
            closed = self._closed
            if not closed:
                self.error, self._attempts, self._retry_at = None, 0, 0.0
                self.transports = {**self.transports, channelz_registry.number(): transport}
                self.transport = self.transport or transport
        if _log.isEnabledFor(logging.DEBUG):
            seconds, tls = self._clock() - self._began, transport.tls_info()
            how = "in plaintext" if tls is None else printable(agreed_on(tls))
            _log.debug("%s: connected, and the peer has spoken, after %.3f s: %s", self.key, seconds, how)
        if closed:
            transport.close(CHANNEL_CLOSED)
        elif not transport.usable:  # lost before it was found
            self.lost()
            return
        else:
            self._use(transport)
        self.assign_streams()
        self.on_change()

    def failed(self, error: str) -> None:
        with self._lock:
            now = self._clock()
            if now < self._patient_until:
                self._retry_at = now + _SOON.after(0)
            else:
                self._retry_at = now + self.backoff.after(self._attempts)
                self._attempts += 1
                self.error = error
            self._dialling = False
        _log.debug("%s: not connected: %s (after %.3f s)", self.key, error, now - self._began)
        self.assign_streams()
        self.on_change()
        self.on_missed()

    def lost(self) -> None:
        """The engine says that no new call can use a transport. Calls in progress on it go on; it ends after them."""
        with self._lock:
            gone = [transport for transport in self.transports.values() if not transport.usable]
            if not gone:
                return  # somebody was told before
            self.transports = {number: one for number, one in self.transports.items() if one not in gone}
            self._former = [*(former for former in self._former if not self._over(former)), *gone]
            successor = next(iter(self.transports.values()), None)
            replaced = self.transport in gone
            if replaced:
                self.transport = None
            self._judge(gone)
        for transport in gone:
            _log.debug("%s: takes no new calls: %s", self.key, transport.ended or "the server closes it")
        if replaced and successor is not None:
            self._use(successor)
        self.assign_streams()
        self.on_change()
        self.on_missed()

    def _judge(self, gone: list[ClientTransport]) -> None:
        """Transports that ended: did the server mean it? Under the lock."""
        now = self._clock()
        retry_at = self._began + self.backoff.after(self._unused - 1)
        if any(transport.carried for transport in gone) or (self._unused > 0 and retry_at <= now):
            self._unused = 0
            return
        if self._began < self._judged:  # it was there beside the one before, and ended for the same reason
            return
        self._unused, self._judged = self._unused + 1, now
        if self._unused > 1:
            self._retry_at = retry_at
            if not self.transports:
                self.error = (
                    f"{gone[-1].ended or 'the server ended the connection'}, again before it had answered a call"
                )

    def _over(self, transport: ClientTransport) -> bool:
        if transport.ended is None:
            return False
        self._past += transport.tally()
        return True

    # ---- several transports

    def _use(self, transport: ClientTransport) -> None:
        """New calls go to this one; the one before may end when it is idle."""
        with self._lock:
            if transport not in self.transports.values():
                return
            before, self.transport = self.transport, transport
        if before is not transport:
            if before is not None:
                before.spare(_SPARE_IDLE)
            transport.spare(None)

    def roomy(self) -> ClientTransport | None:
        """The oldest transport with a stream free, where new calls go from now on; None: there is none."""
        for transport in self.transports.values():
            if transport.room() > 0:
                self._use(transport)
                return transport
        return None

    def assign_streams(self) -> None:
        """Let as many of the queue try as there are streams free; all of them once there is no transport left.

        To be called whenever that may have changed; a call that was let try and does not use it calls this, too.
        """
        if not self.pending.calls:
            return
        transports = tuple(self.transports.values())
        room = sum(one.room(tell=True) for one in transports) if transports else len(self.pending.calls)
        self.pending.call(room)
        if self.grows:
            self.pending.wake_first()

    def join(self, call: PendingCall, *, first: bool) -> None:
        """Wait for a stream. ``first``: the call was let try before, and another one was faster."""
        others = bool(self.pending.calls)
        self.pending.join(call, first=first)
        if first or not others:  # else the transports tell of room already
            self.assign_streams()

    def leave(self, call: PendingCall) -> None:
        """The call neither waits any more nor has it used its turn."""
        self.pending.leave(call)
        self.assign_streams()

    # ---- all of them

    def tally(self) -> Tally:
        """What all its transports have carried."""
        with self._lock:
            transports = [*self._former, *self.transports.values()]
            return channelz_registry.total((self._past, *(transport.tally() for transport in transports)))

    def inherit(self) -> None:
        """As new: in a child process transports are the parent's, and nobody who was dialling or waiting is here."""
        self._lock = threading.Lock()
        self.transport, self.transports, self.error, self._former = None, {}, None, []
        self.pending = PendingCalls()
        self._dialling = False
        self._attempts = self._unused = 0

    def close(self, *, drain: bool) -> None:
        """No new calls. With ``drain`` those in progress may finish, else they fail."""
        with self._lock:
            self._closed = True
            transports, self.transport, self.transports = tuple(self.transports.values()), None, {}
        for transport in transports:
            if drain:
                transport.drain()
            else:
                transport.close(CHANNEL_CLOSED)
        self.assign_streams()
