"""Unary calls (and client streams) in threads: the caller's thread drives the connection until the answer is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc

from rpc.blocking.driver import Driver
from rpc.deadline import deadline_of, time_left, time_remaining
from rpc.errors import (
    CANCELLED,
    LOCALLY_CANCELLED,
    STATUS_CODES,
    CallFailed,
    EndedCall,
    Metadatum,
    failed,
    metadata_tuple,
)
from rpc.method import OfMethod, undeserializable
from rpc.plan import Attempt, Wait, plan_call

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rpc._native import ClientLink, Outcome, Pairs
    from rpc.method import MethodSpec
    from rpc.plan import Plan


class UnaryUnary(OfMethod[Driver], grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.UnaryUnaryMultiCallable`."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """The response; raises `rpc.CallFailed` (a `grpc.RpcError`)."""
        method = self._method
        if credentials is not None or compression is not None:
            method = self._as_asked(credentials, compression)
        return self._response(self._call(method, request, timeout, metadata, wait_for_ready))

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> tuple[Any, grpc.Call]:
        """The response and the ended call."""
        method = self._as_asked(credentials, compression)
        outcome = self._call(method, request, timeout, metadata, wait_for_ready)
        return self._response(outcome), EndedCall(outcome)

    def future(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryFuture:
        """The call in progress, as a `grpc.Future` that is also its `grpc.Call`."""
        method = self._as_asked(credentials, compression)
        deadline = deadline_of(timeout)
        plan = plan_call(self._driver.core, method.path, metadata, deadline, wait_for_ready=wait_for_ready)
        return UnaryFuture(self._driver, method, plan, method.serialize(request), metadata, deadline)

    def _call(
        self,
        method: MethodSpec,
        request: Any,
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> Outcome:
        driver = self._driver
        payload = method.serialize(request)
        if metadata is not None:
            metadata = tuple(metadata)  # read by the routes and by the engine
        plan = plan_call(driver.core, method.path, metadata, deadline_of(timeout), wait_for_ready=wait_for_ready)
        answer: Outcome | None = None
        while True:
            step = driver.advance(plan, answer)
            if isinstance(step, tuple):
                return step
            answer = step.link.call_unary(method.native(step.authority), metadata, payload, time_left(step.deadline))

    def _response(self, outcome: Outcome) -> Any:
        if outcome[0] != 0 or outcome[2] is None:
            raise CallFailed(outcome)
        try:
            return self._method.deserialize(outcome[2])
        except Exception as error:
            raise CallFailed(undeserializable(outcome, error)) from error


class UnaryFuture(grpc.Call, grpc.Future):  # type: ignore[type-arg]  # generic in the stubs only
    """A unary call that nobody waits for yet. The tender's thread, or whoever leads the connection, finishes it."""

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        plan: Plan,
        payload: bytes,
        metadata: Pairs | None,
        deadline: float | None,
    ) -> None:
        self._driver = driver
        self._method = method
        self._plan = plan
        self._payload = payload
        self._metadata = None if metadata is None else tuple(metadata)
        self._deadline = deadline
        self._state = threading.Condition()
        self._outcome: Outcome | None = None
        self._response: Any = None
        self._cancelled = False
        self._sent: tuple[ClientLink, int] | None = None
        self._callbacks: list[Callable[[], None]] = []
        step = driver.advance_now(plan)
        if isinstance(step, Wait):
            threading.Thread(target=self._wait_and_send, args=(step,), name="rpc future", daemon=True).start()
        else:
            self._go_on(step)

    def _wait_and_send(self, wait: Wait) -> None:
        self._driver.perform(wait)
        self._go_on(self._driver.advance(self._plan, None))

    def _go_on(self, step: Attempt | Outcome) -> None:
        if isinstance(step, tuple):
            self._finish(step)
            return
        native = self._method.native(step.authority)
        with self._state:
            if self._outcome is not None:
                return
        key = step.link.start_unary(native, self._metadata, self._payload, time_left(step.deadline), self._answered)
        with self._state:
            self._sent = (step.link, key)
            cancelled = self._cancelled
        if cancelled:
            step.link.cancel(key, CANCELLED, LOCALLY_CANCELLED)

    def _answered(self, outcome: Outcome) -> None:
        if outcome[6] and not self._cancelled:  # the plan may send it once more, and may have to wait for that
            threading.Thread(
                target=lambda: self._go_on(self._driver.advance(self._plan, outcome)), name="rpc future", daemon=True
            ).start()
            return
        try:
            self._plan.send(outcome)
        except StopIteration as end:
            self._finish(end.value)

    def _finish(self, outcome: Outcome) -> None:
        response = None
        if outcome[0] == 0 and outcome[2] is not None:
            try:
                response = self._method.deserialize(outcome[2])
            except Exception as error:
                outcome = undeserializable(outcome, error)
        with self._state:
            if self._outcome is not None:
                return
            self._outcome, self._response = outcome, response
            callbacks, self._callbacks = self._callbacks, []
            self._state.notify_all()
        for callback in callbacks:
            callback()

    def _wait(self, timeout: float | None) -> Outcome:
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
            sent = self._sent
        if sent is not None:
            sent[0].cancel(sent[1], CANCELLED, LOCALLY_CANCELLED)
        self._finish(failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED))
        return True

    def cancelled(self) -> bool:
        return self._cancelled

    def running(self) -> bool:
        return self._outcome is None

    def done(self) -> bool:
        return self._outcome is not None

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the response; raises `rpc.CallFailed`, `grpc.FutureCancelledError`, `grpc.FutureTimeoutError`."""
        outcome = self._wait(timeout)
        self._raise_if_cancelled()
        if outcome[0] != 0:
            raise CallFailed(outcome)
        return self._response

    def exception(self, timeout: float | None = None) -> Exception | None:
        outcome = self._wait(timeout)
        self._raise_if_cancelled()
        return None if outcome[0] == 0 else CallFailed(outcome)

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        try:
            self.result(timeout)
        except CallFailed as error:
            return error.__traceback__
        return None

    def add_done_callback(self, fn: Callable[[UnaryFuture], None]) -> None:
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
            self._callbacks.append(callback)
            return True

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._wait(None)[3])

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._wait(None)[4])

    def code(self) -> grpc.StatusCode:
        return STATUS_CODES[self._wait(None)[0]]

    def details(self) -> str:
        return self._wait(None)[1]

    def debug_error_string(self) -> str:
        return f"{self.code().name}: {self.details()}"
