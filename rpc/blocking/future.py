"""Calls with one response that nobody waits for yet: `grpc.Future` and `grpc.Call` in one.

Whoever drives the connection at the time finishes them: the tender's thread, or a caller that reads for its own call.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc

from rpc._native import FORKED, Outcome
from rpc.blocking.planned import UnattendedCall
from rpc.blocking.stream import StreamCall
from rpc.carried import carried
from rpc.deadline import deadline_of, time_remaining
from rpc.errors import (
    CANCELLED,
    LOCALLY_CANCELLED,
    NOT_SENT,
    STATUS_CODES,
    CallFailed,
    Metadatum,
    described,
    failed,
    metadata_tuple,
    told,
)
from rpc.fork import generation
from rpc.later import LATER, Later
from rpc.method import undeserializable, unserializable
from rpc.plan import plan_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rpc._native import ClientTransport, Pairs
    from rpc.attempt import Attempt
    from rpc.blocking.driver import Driver
    from rpc.handles import StreamHandle
    from rpc.method import MethodSpec


class CallFuture(grpc.Call, grpc.Future, grpc.RpcError):  # type: ignore[type-arg]  # generic in the stubs only
    """What both kinds share. They say how to give the call up (`_abandon`).

    When it fails it is raised itself, as in grpcio.
    """

    def __init__(self, method: MethodSpec, timeout: float | None) -> None:
        super().__init__()  # without arguments: an exception keeps those that it is made with
        self.args = ()
        self._method = method
        self._deadline = deadline_of(timeout)
        self._state = threading.Condition()
        self._outcome: Outcome | None = None
        self._response: Any = None
        self._cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._generation = generation()

    def _abandon(self) -> None:
        raise NotImplementedError

    def _finish(self, outcome: Outcome) -> None:
        response = None
        if outcome.ok and outcome.payload is not None:
            try:
                response = self._method.deserialize(outcome.payload)
            except Exception as error:
                outcome = undeserializable(outcome, error)
        with self._state:
            if self._outcome is not None:
                return
            self._outcome, self._response = outcome, response
            callbacks, self._callbacks = self._callbacks, []
            self._state.notify_all()
        told(callbacks)

    def _end(self, timeout: float | None) -> Outcome:
        if self._generation != generation() and self._outcome is None:
            return FORKED
        with self._state:
            if not self._state.wait_for(lambda: self._outcome is not None, timeout):
                raise grpc.FutureTimeoutError
            assert self._outcome is not None
            return self._outcome

    # grpc.Future

    def cancel(self) -> bool:
        """Give the call up; False if it is over already."""
        with self._state:
            if self._outcome is not None:
                return False
            self._cancelled = True
        self._finish(failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED))
        self._abandon()
        return True

    def cancelled(self) -> bool:
        return self._cancelled

    def running(self) -> bool:
        return self._outcome is None

    def done(self) -> bool:
        return self._outcome is not None

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the response; raises `rpc.CallFailed`, `grpc.FutureCancelledError`, `grpc.FutureTimeoutError`."""
        outcome = self._end(timeout)
        self._raise_if_cancelled()
        if not outcome.ok:
            raise self
        return self._response

    def exception(self, timeout: float | None = None) -> Exception | None:
        outcome = self._end(timeout)
        self._raise_if_cancelled()
        return None if outcome.ok else self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        try:
            self.result(timeout)
        except grpc.RpcError as error:
            return error.__traceback__
        return None

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    def _raise_if_cancelled(self) -> None:
        if self._cancelled:
            raise grpc.FutureCancelledError

    # grpc.Call

    def is_active(self) -> bool:
        return self._outcome is None

    def time_remaining(self) -> float | None:  # type: ignore[override]  # the stubs' own type does not exist at run time
        return time_remaining(self._deadline)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._state:
            if self._outcome is not None:
                return False
            self._callbacks.append(carried(callback))
            return True

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._end(None).initial)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:  # type: ignore[override]  # the same, by another name
        return metadata_tuple(self._end(None).trailing)

    def code(self) -> grpc.StatusCode:
        return STATUS_CODES[self._end(None).code]

    def details(self) -> str:
        return self._end(None).details

    def debug_error_string(self) -> str:
        return f"{self.code().name}: {self.details()}"

    def __repr__(self) -> str:
        return described(self, self._outcome)

    __str__ = __repr__


class UnaryFuture(UnattendedCall, CallFuture):
    """One request, sent again where the plan says so."""

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        request: Any,
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(method, timeout)
        self._driver = driver
        self._sent: tuple[ClientTransport, int] | None = None
        self._attempts = 0
        try:
            payload = method.payload(request)
        except Exception as error:
            raise CallFailed(unserializable(error)) from error
        self._plan = plan_call(driver.core, method, payload, metadata, self._deadline, wait_for_ready)
        self._set_out()

    @property
    def _over(self) -> bool:
        return self._outcome is not None

    def _start(self, attempt: Attempt) -> Outcome | Later:
        number = self._attempts = self._attempts + 1
        key = attempt.start_unary(self._answered)
        if key is None:
            return NOT_SENT
        with self._state:
            if number == self._attempts:  # else it has failed meanwhile, and another thread has begun the next
                self._sent = (attempt.transport, key)
            cancelled = self._cancelled
        if cancelled:
            attempt.transport.cancel(key, CANCELLED, LOCALLY_CANCELLED)
        return LATER

    def _ended(self, result: Outcome | StreamHandle) -> None:
        assert isinstance(result, Outcome)  # there is one response
        self._finish(result)

    def _abandon(self) -> None:
        with self._state:
            sent = self._sent
        if sent is not None:
            sent[0].cancel(sent[1], CANCELLED, LOCALLY_CANCELLED)
        self._give_up_plan()


class StreamUnaryFuture(CallFuture):
    """A client stream: its requests are sent by a thread, its one response is awaited by whoever wants it."""

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        requests: Iterable[Any],
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> None:
        super().__init__(method, timeout)
        self._payloads: list[bytes] = []
        self._reading = threading.RLock()  # receiving may tell of a change in the same thread
        self._stream: StreamCall | None = None
        self._stream = StreamCall(driver, method, requests, timeout, metadata, wait_for_ready, on_change=self._changed)
        self._changed()

    def _changed(self) -> None:
        stream = self._stream
        if stream is None or self._outcome is not None:
            return
        with self._reading:
            outcome = stream.take(self._payloads)
        if outcome is not None:
            self._finish(only_response(outcome, self._payloads))

    def _abandon(self) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """Wait for the response's head."""
        if self._stream is None or self._outcome is not None:
            return super().initial_metadata()
        return self._stream.initial_metadata()


def only_response(outcome: Outcome, payloads: list[bytes]) -> Outcome:
    """The outcome of a client stream; OK needs exactly one message."""
    if not outcome.ok:
        return outcome
    if len(payloads) != 1:
        code = grpc.StatusCode.UNIMPLEMENTED.value[0]
        return outcome.replaced(code, f"expected one response, got {len(payloads)}")
    return outcome.replaced(outcome.code, outcome.details, payloads[0])
