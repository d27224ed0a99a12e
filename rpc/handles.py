"""Attempts that a plan has started and does not wait for (`rpc.steps.Start`).

A hedge beside the first, a copy for a mirror, a try that has only so much time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, Self

from rpc.errors import CANCELLED
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientCall, Outcome
    from rpc.attempt import Attempt
    from rpc.errors import RouteLimit

# Streams that only this holds: what is dropped is cancelled.
_let_go: set[StreamHandle] = set()
os.register_at_fork(after_in_child=_let_go.clear)
_NOT_WANTED = "another attempt was taken"


class Handle(Protocol):
    """``settled``: how it ended is known; of a call whose responses are a stream, also that it is being answered."""

    settled: bool
    on_event: Callable[[], None] | None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None: it goes on."""

    @property
    def result(self) -> Outcome | StreamHandle:
        """What a plan returns that takes this attempt for the call's."""

    def cancel(self) -> None:
        """Another was taken. Does nothing to one that has ended."""

    def let_go(self) -> None:
        """Nobody looks at it any more; it goes on to its end, and what it is answered is thrown away."""


class UnaryHandle:
    """An attempt of a call with one response."""

    __slots__ = ("_attempt", "_key", "on_event", "outcome", "settled")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._key: int | None = None
        self.outcome: Outcome | None = None
        self.settled = False
        self.on_event: Callable[[], None] | None = None

    @classmethod
    def begun(cls, attempt: Attempt) -> Self | None:
        """Start it; None: it is not sent. Raises TypeError or ValueError where it cannot be."""
        handle = cls(attempt)
        handle._key = attempt.start_unary(handle._ended)
        return handle if handle._key is not None else None

    def _ended(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.settled = True
        _tell(self)

    @property
    def result(self) -> Outcome:
        assert self.outcome is not None
        return self.outcome

    def cancel(self) -> None:
        if self._key is not None and not self.settled:
            self._attempt.transport.cancel(self._key, CANCELLED, _NOT_WANTED)

    def let_go(self) -> None:
        self.on_event = None  # the engine holds what it calls at the end


class StreamHandle:
    """An attempt of a call with one request and a stream of responses."""

    __slots__ = ("__weakref__", "_let_go", "call", "limit", "on_event", "settled")

    call: ClientCall

    def __init__(self, limit: RouteLimit | None) -> None:
        self.limit = limit
        self.settled = False
        self.on_event: Callable[[], None] | None = None
        self._let_go = False

    @classmethod
    def begun(cls, attempt: Attempt) -> Self | None:
        """Start it; None: it is not sent. Raises TypeError or ValueError where it cannot be."""
        if attempt.payload is None:
            raise RuntimeError("a call whose requests are a stream has one attempt: its plan may not start others")
        handle = cls(attempt.limit)
        call = attempt.start(None)
        if call is None:
            return None
        handle.call = call
        call.watch(weakly(handle._changed))
        call.send(attempt.payload, end=True)
        handle._changed()
        return handle

    def _changed(self) -> None:
        call = self.call
        if self._let_go:
            while call.receive() is not None:
                pass
            if call.finished:
                _let_go.discard(self)
        if not self.settled and (call.headed or call.finished):
            self.settled = True
            _tell(self)

    @property
    def outcome(self) -> Outcome | None:
        return self.call.outcome()

    @property
    def result(self) -> StreamHandle:
        return self

    def cancel(self) -> None:
        self.call.cancel(CANCELLED, _NOT_WANTED)

    def let_go(self) -> None:
        self.on_event = None
        self._let_go = True
        _let_go.add(self)
        self._changed()


def _tell(handle: UnaryHandle | StreamHandle) -> None:
    on_event = handle.on_event
    if on_event is not None:
        on_event()
