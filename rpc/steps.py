"""The steps of a call's plan, and what they are answered with: `rpc.plan` makes them, `rpc.runner` carries them out.

``until`` is on the core's clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rpc.attempt import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rpc._native import Outcome, Pairs
    from rpc.credentials import CallCredentials
    from rpc.credentials.call import NoCredentialsError
    from rpc.handles import Handle, StreamHandle
    from rpc.transport import Subchannel
    from rpc.transport.pending_calls import PendingCall

    Answer: TypeAlias = Outcome | Handle | Pairs | NoCredentialsError | None
    Plan: TypeAlias = Generator["Step", Answer, Outcome | StreamHandle]


@dataclass(frozen=True, slots=True)
class Start:
    """Send the request and go on with the plan. Answered with a handle; None: the transport had no room for it.

    Only for calls whose one request is at hand.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Dial:
    """Begin to connect ``subchannel``, without waiting for it. No answer: the core's generation changes."""

    subchannel: Subchannel


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the core's generation is not ``generation`` any more, or ``until``. No answer."""

    generation: int
    until: float | None

    def over(self, generation: int, now: float) -> bool:
        return self.generation != generation or _reached(self.until, now)


@dataclass(frozen=True, slots=True)
class AwaitStream:
    """Wait until ``call`` is woken, or ``until``. No answer."""

    call: PendingCall
    until: float | None

    def listen(self, on_event: Callable[[], None]) -> None:
        """``on_event`` is called, by any thread, when it is over before its time; `over` is to be looked at after."""
        self.call.on_event = on_event

    def over(self, generation: int, now: float) -> bool:
        del generation
        return self.call.woken or _reached(self.until, now)


@dataclass(frozen=True, slots=True)
class AwaitFirst:
    """Wait until one of ``handles`` is `settled`, or ``until``. No answer: the plan looks (`first_of`)."""

    handles: tuple[Handle, ...]
    until: float | None

    def listen(self, on_event: Callable[[], None]) -> None:
        """As of `AwaitStream`."""
        for handle in self.handles:
            handle.on_event = on_event

    def over(self, generation: int, now: float) -> bool:
        del generation
        return any(handle.settled for handle in self.handles) or _reached(self.until, now)


@dataclass(frozen=True, slots=True)
class Authorize:
    """Ask these plugins for metadata (`rpc.credentials.gather`); answered with the pairs or the reason."""

    credentials: CallCredentials
    authority: str
    path: str
    deadline: float | None


Listening = AwaitFirst | AwaitStream  # who waits is told; of `Wait`, the channel is
Pause = Authorize | Listening | Wait
Step = Attempt | Dial | Start | Pause


def _reached(until: float | None, now: float) -> bool:
    return until is not None and until <= now


def first_of(
    handles: tuple[Handle, ...], until: float | None, clock: Callable[[], float] = time.monotonic
) -> Generator[Step, Answer, Handle | None]:
    """The first of them that is settled; None: it is ``until``, by the core's ``clock``."""
    while True:
        for handle in handles:
            if handle.settled:
                return handle
        if _reached(until, clock()):
            return None
        yield AwaitFirst(handles, until)
