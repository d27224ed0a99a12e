"""The part that every source of identities has: what is current, who observes it, and the thread that renews it.

A source is a subclass that says in `step` how it gets its identities. Nothing here knows how.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from xds_client.errors import IdentityError, IdentityTimeoutError
from xds_client.fork import inherits
from xds_client.identity.clock import SYSTEM_CLOCK, Clock
from xds_client.identity.observer import IdentityObserver
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.identity.svid import Identity
    from xds_client.observers import ObserverHandle

logger = logging.getLogger(f"proxyless.{__name__}")

_AFTER_A_BUG = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class IdentityStatus:
    """How the identity of a process stands.

    For people and the admin page. ``not_after`` is ISO 8601; ``expires_in`` and ``renewal_in`` are seconds.

    >>> status = rpc.mesh().status().identity
    >>> status.spiffe_id, 0 < status.renewal_in < status.expires_in
    ('spiffe://cluster.local/ns/demo/sa/web', True)
    """

    source: str
    spiffe_id: str
    not_after: str
    expires_in: float | None
    renewal_in: float | None
    error: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class _State:
    """One reference, swapped whole. ``expires_at`` and ``due_at`` are on the monotonic clock."""

    identity: Identity | None = None
    expires_at: float = 0.0
    serial: int = 0
    error: str = ""
    warning: str = ""
    due_at: float | None = None


class IdentityKeeper:
    """An `IdentitySource` whose `step` is run by a thread of its own once it is started."""

    def __init__(self, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self.name = name
        self._clock = clock
        self._state = _State()
        self._observers: tuple[IdentityObserver, ...] = ()
        self._changed = threading.Condition()  # guards the two above; never held while an observer runs
        self._closing = threading.Event()
        self._started = False
        self._expiry_told = 0  # serial of the identity whose end was logged; the thread's own
        self._thread: threading.Thread | None = None
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: what is current stays so, and is renewed again from `resume` on."""
        closed = self._closing.is_set()
        self._changed, self._closing, self._thread = threading.Condition(), threading.Event(), None
        if closed:
            self._closing.set()
        for observer in self._observers:
            observer.inherit()

    # What sources say

    def step(self) -> float:
        """Do what is due; the seconds until there is something to do again. One thread at a time."""
        raise NotImplementedError

    def interrupt(self) -> None:
        """End a `step` that is waiting for somebody, because the source is closed. Any thread."""

    # What users see

    @property
    def current(self) -> Identity | None:
        state = self._state
        alive = state.identity is not None and self._clock.monotonic() < state.expires_at
        return state.identity if alive else None

    @property
    def error(self) -> str | None:
        state = self._state
        known = state.identity
        if known is None:
            return state.error or f"{self.name} has not answered yet"
        until = known.not_after.isoformat(timespec="seconds")
        if self._clock.monotonic() >= state.expires_at:
            why = state.error or f"{self.name} has not renewed it"
            return f"the certificate of {known.spiffe_id} has expired (it was dated until {until}); {why}"
        return (
            f"{state.error}; the certificate of {known.spiffe_id} until {until} stays in use" if state.error else None
        )

    @property
    def status(self) -> IdentityStatus:
        state, now = self._state, self._clock.monotonic()
        known = state.identity
        return IdentityStatus(
            source=self.name,
            spiffe_id=known.spiffe_id if known else "",
            not_after=known.not_after.isoformat() if known else "",
            expires_in=state.expires_at - now if known else None,
            renewal_in=None if state.due_at is None else max(0.0, state.due_at - now),
            error=self.error or "",
            warning=state.warning,
        )

    def observe(self, callback: Callable[[Identity], object]) -> ObserverHandle:
        observer = IdentityObserver(callback, self._unobserve)
        with self._changed:
            self._observers = (*self._observers, observer)
            state = self._state
        if state.identity is not None and self.current is state.identity:
            observer.deliver(state.serial, state.identity)
        return observer.handle

    def wait(self, timeout: float) -> Identity:
        with self._changed:
            self._changed.wait_for(lambda: self.current is not None or self._closing.is_set(), timeout)
        if (identity := self.current) is not None:
            return identity
        if self._closing.is_set():
            raise IdentityError(f"{self.name} is closed: {self.error}; open a new one")
        raise IdentityTimeoutError(f"no mesh identity within {timeout:g} s: {self.error}")

    def start(self) -> Self:
        """Begin to keep it current. Returns at once; `wait` waits."""
        assert not self._started, "started twice"
        self._started = True
        try:
            self.resume()
        except BaseException:
            self._started = False
            raise
        return self

    def resume(self) -> None:
        """In the child of a fork: keep it current again. Otherwise nothing; any thread.

        Raises RuntimeError where there is no thread to be had; called again, it tries again.
        """
        with self._changed:
            if not self._started or self._thread is not None or self._closing.is_set():
                return
            self._thread = must_begin(self._run, "mesh-identity")

    def close(self) -> None:
        self._closing.set()
        self.interrupt()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # What `step` uses

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    @property
    def held(self) -> Identity | None:
        """The last identity, be it expired."""
        return self._state.identity

    def publish(self, identity: Identity, expires_at: float, warning: str = "") -> None:
        """A new certificate. ``expires_at`` is on the monotonic clock; ``warning`` is for people."""
        if warning:
            logger.warning("%s", warning)
        self._swap(identity=identity, expires_at=expires_at, warning=warning, error="")

    def publish_roots(self, roots: bytes) -> None:
        """Other roots beside the certificate there is."""
        identity = self._state.identity
        assert identity is not None
        self._swap(identity=replace(identity, roots=roots))

    def complain(self, reason: str, *, loud: bool = True) -> None:
        """Why there is none or no new one. What there is stays in use until it expires."""
        self._swap(error=reason)
        logger.log(logging.WARNING if loud else logging.DEBUG, "%s", self.error)

    def plan(self, due_at: float | None) -> None:
        """When it will be renewed, on the monotonic clock; for `status`."""
        self._swap(due_at=due_at)

    def _swap(self, **changes: Any) -> None:
        with self._changed:
            before = self._state
            news = "identity" in changes and changes["identity"] != before.identity
            if "identity" in changes and not news:
                changes["identity"] = before.identity  # equal means keep
                news = (
                    self._clock.monotonic() >= before.expires_at
                )  # it had expired, by a clock that has been set since
            after = self._state = replace(before, **changes, serial=before.serial + news)
            observers = self._observers
            self._changed.notify_all()
        if news and after.identity is not None:
            for observer in observers:
                observer.deliver(after.serial, after.identity)

    def _unobserve(self, observer: IdentityObserver) -> None:
        with self._changed:
            self._observers = tuple(o for o in self._observers if o is not observer)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                seconds = self.step()
            except Exception:  # a bug of ours must cost one attempt, not the identity from now on
                logger.exception("renewing the identity from %s failed; it goes on", self.name)
                seconds = _AFTER_A_BUG
            self._rest(seconds)

    def _rest(self, seconds: float) -> None:
        """Until there is something to do. A certificate that expires meanwhile does not do so in silence."""
        until = self._clock.monotonic() + seconds
        while True:
            state, now = self._state, self._clock.monotonic()
            ends = state.expires_at if state.identity is not None and state.serial != self._expiry_told else None
            if ends is not None and ends <= now:
                self._expiry_told, ends = state.serial, None
                logger.error("%s; nothing that needs it is called or let in until there is another", self.error)
            if now >= until or self._closing.wait(min(until, until if ends is None else ends) - now):
                return
            if ends is None or until <= ends:
                return
