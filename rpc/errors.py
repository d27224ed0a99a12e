"""How calls fail, as grpc says it.

ChannelClosedError      a call on a channel that is closed; what grpcio raises, in threads and in asyncio

grpc.RpcError
├── CallFailed          a blocking call ended with a status other than OK
└── grpc.aio.AioRpcError  the same in asyncio (grpc's own class)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rpc._native import Outcome

# By number, as the wire says it; what gRPC does not define never leaves the engine.
STATUS_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


CANCELLED: int = grpc.StatusCode.CANCELLED.value[0]
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


def failed(code: grpc.StatusCode, details: str, *, unprocessed: bool = False) -> Outcome:
    """The outcome of a call that failed on this side."""
    return (code.value[0], details, None, None, None, False, unprocessed)


# What an attempt on a link that turned out to be lost comes to: the plan goes on to the next link.
NOT_SENT = failed(grpc.StatusCode.UNAVAILABLE, "the connection was lost before the call", unprocessed=True)


class EndedCall(grpc.Call):
    """A call that is over: `code()`, `details()` and both kinds of metadata."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    @property
    def outcome(self) -> Outcome:
        return self._outcome

    def code(self) -> grpc.StatusCode:
        return STATUS_CODES[self._outcome[0]]

    def details(self) -> str:
        return self._outcome[1]

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._outcome[3])

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._outcome[4])

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


class CallFailed(EndedCall, grpc.Future, grpc.RpcError):  # type: ignore[misc, type-arg]  # an untyped base in the stubs
    """A call that ended with a status other than OK, raised where its result was asked for.

    Interceptors are handed it as the call's future, too.
    """

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        del timeout
        raise self

    def exception(self, timeout: float | None = None) -> Self:
        del timeout
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        del timeout
        return self.__traceback__

    def add_done_callback(self, fn: Callable[[Self], None]) -> None:
        fn(self)

    def __str__(self) -> str:
        return f"<{type(self).__name__} of RPC that terminated with {self.code()}: {self.details()}>"

    __repr__ = __str__
