"""How calls fail, as grpc says it.

ChannelClosedError      a call on a channel that is closed; what grpcio raises, in threads and in asyncio

grpc.RpcError
├── CallFailed          a blocking call ended with a status other than OK
└── grpc.aio.AioRpcError
    └── AioRpcError     the same in asyncio
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

import grpc
import grpc.aio

from rpc._native import Origin, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

# By number, as the wire says it; what gRPC does not define never leaves the engine.
STATUS_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


_log = logging.getLogger(f"proxyless.{__name__}")
CANCELLED: int = grpc.StatusCode.CANCELLED.value[0]
DEADLINE_EXCEEDED: int = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
LOCALLY_CANCELLED = "Locally cancelled by application!"


class Metadatum(NamedTuple):
    """One metadata entry; equals the plain pair."""

    key: str
    value: str | bytes


class ChannelClosedError(ValueError, grpc.aio.UsageError):
    """A call was made on a closed channel."""

    def __init__(self) -> None:
        super().__init__("Cannot invoke RPC on closed channel!")


def metadata_tuple(pairs: Iterable[tuple[str, str | bytes]] | None) -> tuple[Metadatum, ...]:
    return tuple(Metadatum(key, value) for key, value in pairs) if pairs else ()


def failed(code: grpc.StatusCode, details: str, *, unprocessed: bool = False, origin: Origin = Origin.LOCAL) -> Outcome:
    """The outcome of a call that failed on this side."""
    return Outcome(code.value[0], details, unprocessed=unprocessed, origin=origin)


def given_up(outcome: Outcome) -> bool:
    """Whoever made the call has cancelled it."""
    return outcome.code == CANCELLED and outcome.origin == Origin.LOCAL


def of_closed_channel(outcome: Outcome) -> bool:
    return outcome.code == CANCELLED and outcome.origin == Origin.CHANNEL


# What an attempt on a transport that turned out to be lost comes to: the plan goes on to the next one.
NOT_SENT = failed(
    grpc.StatusCode.UNAVAILABLE, "the connection was lost before the call", unprocessed=True, origin=Origin.CHANNEL
)


def described(call: object, outcome: Outcome | None) -> str:
    """A call as grpc prints it. None: it is not over yet."""
    name = type(call).__name__
    if outcome is None:
        return f"<{name} of in-flight RPC>"
    return _terminated(name, STATUS_CODES[outcome.code], outcome.details)


def _terminated(name: str, code: grpc.StatusCode, details: str | None) -> str:
    """Without the debug string, which says the same once more."""
    return f'<{name} of RPC that terminated with:\n\tstatus = {code}\n\tdetails = "{details}"\n>'


class RouteLimit(NamedTuple):
    """A deadline (monotonic) that is a route's and not the caller's, and how to say so."""

    deadline: float
    words: str


_ROUNDED = 0.01  # seconds: a peer, who is told the deadline, ends a call that much sooner


def explained(outcome: Outcome, limit: RouteLimit | None, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Says whose time was over, where it was the route's, whichever side noticed first."""
    if limit is None or outcome.code != DEADLINE_EXCEEDED:
        return outcome
    if outcome.origin != Origin.LOCAL and clock() < limit.deadline - _ROUNDED:
        return outcome
    return outcome.replaced(outcome.code, f"{outcome.details}: {limit.words}")


def told(callbacks: Iterable[Callable[[], None]]) -> None:
    """Run them all: what one raises is logged, and no matter of the others."""
    all_of(callbacks, "a callback of a call raised")


def all_of(jobs: Iterable[Callable[[], None]], failed: str) -> None:
    """Run one after the other: what one raises is logged as ``failed``. What ends a thread is raised after the last."""
    fatal: BaseException | None = None
    for job in jobs:
        try:
            job()
        except Exception:
            _log.exception(failed)
        except BaseException as error:
            fatal = error
    if fatal is not None:
        raise fatal


class EndedCall(grpc.Call, grpc.Future):  # type: ignore[type-arg]  # generic in the stubs only
    """A call that is over: `code()`, `details()`, both kinds of metadata, and its response."""

    def __init__(self, outcome: Outcome, response: Any = None) -> None:
        self._outcome = outcome
        self._response = response

    @property
    def outcome(self) -> Outcome:
        return self._outcome

    def code(self) -> grpc.StatusCode:
        return STATUS_CODES[self._outcome.code]

    def details(self) -> str:
        return self._outcome.details

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._outcome.initial)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._outcome.trailing)

    def debug_error_string(self) -> str:
        return f"{self.code().name}: {self.details()}"

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:  # type: ignore[override]  # the stubs' own type does not exist at run time
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        del callback
        return False

    # grpc.Future

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        del timeout
        return self._response

    def exception(self, timeout: float | None = None) -> Exception | None:
        del timeout
        return None

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        del timeout
        return None

    def add_done_callback(self, fn: Callable[[Self], None]) -> None:
        fn(self)

    def __repr__(self) -> str:
        return described(self, self._outcome)


class CallFailed(EndedCall, grpc.RpcError):  # type: ignore[misc]  # an untyped base in the stubs
    """A call that ended with a status other than OK, raised where its result was asked for.

    Interceptors are handed it as the call's future, too.

    >>> with rpc.insecure_channel("127.0.0.1:1") as channel:  # nobody is there
    ...     try:
    ...         GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
    ...     except grpc.RpcError as error:
    ...         print(error.code(), isinstance(error, rpc.CallFailed))
    StatusCode.UNAVAILABLE True
    """

    def result(self, timeout: float | None = None) -> NoReturn:
        del timeout
        raise self

    def exception(self, timeout: float | None = None) -> Self:
        del timeout
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        del timeout
        return self.__traceback__

    __str__ = EndedCall.__repr__


class AioRpcError(grpc.aio.AioRpcError):
    """The same in asyncio: grpc's own class, which says its text once."""

    def __repr__(self) -> str:
        return _terminated(grpc.aio.AioRpcError.__name__, self.code(), self.details())

    __str__ = __repr__


_LISTED = 5


def listed(reasons: Sequence[str]) -> str:
    """Some of the reasons: thousands of endpoints must not make a message of a megabyte."""
    more = len(reasons) - _LISTED
    return "; ".join(reasons[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
