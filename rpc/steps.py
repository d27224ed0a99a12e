"""The steps of a call's plan, and what they are answered with: `rpc.plan` makes them, `rpc.runner` carries them out."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rpc.deadline import time_left
from rpc.errors import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rpc._native import ClientCall, ClientLink, Outcome, Pairs
    from rpc.balancing import Pick
    from rpc.credentials import CallCredentials
    from rpc.credentials.call import NoCredentialsError
    from rpc.errors import RouteLimit
    from rpc.handles import Handle, StreamHandle
    from rpc.method import MethodSpec
    from rpc.transport import Connection
    from rpc.transport.queue import Place

    Answer: TypeAlias = Outcome | Handle | Pairs | NoCredentialsError | None
    Plan: TypeAlias = Generator["Step", Answer, Outcome | StreamHandle]

R = TypeVar("R")


class Later(enum.Enum):
    """Instead of an answer: there is none yet. Whoever has it goes on with the plan."""

    LATER = enum.auto()


LATER = Later.LATER


class Attempt:
    """Send the request on ``link``. Answered with what came of it, which is `NOT_SENT` where the link had no room.

    ``deadline`` on the monotonic clock, ``limit`` is it where it is the route's (`rpc.errors.explained`). ``payload``
    is the only request; None where requests are sent one by one.
    """

    __slots__ = ("_begun", "_method", "authority", "deadline", "limit", "link", "metadata", "payload", "pick")

    link: ClientLink

    def __init__(
        self,
        pick: Pick,
        method: MethodSpec,
        payload: bytes | None,
        authority: str,
        deadline: float | None,
        metadata: Pairs | None,
        limit: RouteLimit | None,
    ) -> None:
        self.pick = pick
        self._method = method
        self.payload = payload
        self.authority = authority
        self.deadline = deadline
        self.metadata = metadata
        self.limit = limit
        self._begun = False  # the engine has it, and tells the pick of its end

    def call_unary(self) -> Outcome:
        """Make the whole call, waiting. Raises ValueError or TypeError where it cannot be sent, as all of them."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        return self._sent(self.link.call_unary, native, self.metadata, self.payload, left, self.pick.done) or NOT_SENT

    def start_unary(self, callback: Callable[[Outcome], object]) -> int | None:
        """Start the call; its key on the link, or None: it is not sent."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        start = self.link.start_unary
        return self._sent(start, native, self.metadata, self.payload, left, callback, self.pick.done)

    def start(self, on_change: Callable[[], object] | None) -> ClientCall | None:
        """Start a call whose messages are sent and received one by one; None: it is not sent."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        return self._sent(self.link.start, native, self.metadata, left, on_change, self.pick.done)

    def _sent(self, send: Callable[..., R | None], *arguments: Any) -> R | None:
        self._begun = True  # before: the end may come before this returns
        try:
            sent = send(*arguments)
        except (TypeError, ValueError):
            self._begun = False
            raise
        self._begun = sent is not None
        return sent

    def close(self) -> None:
        """Whether or not it began: the pick has an end."""
        if not self._begun:
            self.pick.not_sent()


@dataclass(frozen=True, slots=True)
class Start:
    """Send the request and go on with the plan. Answered with a handle; None: the link had no room for it.

    Only for calls whose one request is at hand.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Dial:
    """Begin to connect ``connection``, without waiting for it. No answer: the core's generation changes."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until the core's generation is not ``generation`` any more, or ``until`` (monotonic). No answer."""

    generation: int
    until: float | None

    def over(self, generation: int, now: float) -> bool:
        return self.generation != generation or _reached(self.until, now)


@dataclass(frozen=True, slots=True)
class Stand:
    """Wait until ``place`` is stirred, or ``until`` (monotonic). No answer."""

    place: Place
    until: float | None

    def listen(self, on_news: Callable[[], None]) -> None:
        """``on_news`` is called, by any thread, when it is over before its time; `over` is to be looked at after."""
        self.place.on_news = on_news

    def over(self, generation: int, now: float) -> bool:
        del generation
        return self.place.stirred or _reached(self.until, now)


@dataclass(frozen=True, slots=True)
class AwaitFirst:
    """Wait until one of ``handles`` is `settled`, or ``until`` (monotonic). No answer: the plan looks (`first_of`)."""

    handles: tuple[Handle, ...]
    until: float | None

    def listen(self, on_news: Callable[[], None]) -> None:
        """As of `Stand`."""
        for handle in self.handles:
            handle.on_news = on_news

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


News = AwaitFirst | Stand  # who waits is told; of `Wait`, the channel is
Pause = Authorize | News | Wait
Step = Attempt | Dial | Start | Pause


def _reached(until: float | None, now: float) -> bool:
    return until is not None and until <= now


def first_of(handles: tuple[Handle, ...], until: float | None) -> Generator[Step, Answer, Handle | None]:
    """The first of them that is settled; None: it is ``until`` (monotonic)."""
    while True:
        for handle in handles:
            if handle.settled:
                return handle
        if _reached(until, time.monotonic()):
            return None
        yield AwaitFirst(handles, until)
