"""Streaming calls in threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import grpc

from rpc.blocking.driver import Driver
from rpc.deadline import deadline_of, time_left, time_remaining
from rpc.errors import (
    CANCELLED,
    LOCALLY_CANCELLED,
    NOT_SENT,
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
    from collections.abc import Callable, Iterable, Iterator

    from rpc._native import ClientCall, Metadata, Outcome, Pairs
    from rpc.method import MethodSpec


class StreamCall(grpc.Call):
    """A streaming call: started without blocking, its requests sent by a thread of its own, its responses iterated."""

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        requests: Iterable[Any],
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> None:
        self._driver = driver
        self._method = method
        self._metadata = None if metadata is None else tuple(metadata)
        self._deadline = deadline_of(timeout)
        self._placed = threading.Condition()
        self._call: ClientCall | None = None
        self._failure: Outcome | None = None
        # While set, the call can still be sent anew: its only request, and nothing of an answer was handed out.
        self._only = requests if isinstance(requests, _One) else None
        self._callbacks: list[Callable[[], None]] = []
        self._plan = plan_call(driver.core, method.path, self._metadata, self._deadline, wait_for_ready=wait_for_ready)
        step = driver.advance_now(self._plan)
        if isinstance(step, Wait):
            threading.Thread(target=self._wait_and_place, args=(step, requests), daemon=True).start()
            return
        self._place(step)
        self._begin(requests)

    def _wait_and_place(self, wait: Wait, requests: Iterable[Any]) -> None:
        self._driver.perform(wait)
        self._place(self._driver.advance(self._plan, None))
        self._begin(requests)

    def _place(self, step: Attempt | Outcome) -> None:
        """Put the call on its connection, or note why there is none."""
        call: ClientCall | None = None
        while isinstance(step, Attempt) and call is None:
            native = self._method.native(step.authority)
            call = step.link.start(native, self._metadata, time_left(step.deadline))
            if call is None:
                step = self._driver.advance(self._plan, NOT_SENT)
        with self._placed:
            if self._failure is None:  # else it was cancelled meanwhile, and dropping the call ends it
                if isinstance(step, tuple):
                    self._failure = step
                else:
                    self._call = call
            self._placed.notify_all()

    def _begin(self, requests: Iterable[Any]) -> None:
        call = self._call
        if call is None:
            self._run_callbacks()
        elif isinstance(requests, _One):
            # The engine's window is the only buffer: what does not fit at once is sent while the responses are read.
            call.send(requests.payload, end=True)
        else:
            threading.Thread(target=self._send_all, args=(call, requests), name="rpc requests", daemon=True).start()

    def _send_all(self, call: ClientCall, requests: Iterable[Any]) -> None:
        try:
            for request in requests:
                if not call.send_blocking(self._method.serialize(request)):
                    return
            call.half_close()
        except Exception as error:
            call.cancel(grpc.StatusCode.UNKNOWN.value[0], f"Exception iterating requests! ({error!r})")

    def _running(self) -> ClientCall | None:
        with self._placed:
            self._placed.wait_for(lambda: self._call is not None or self._failure is not None)
            return self._call

    # responses

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while True:
            call = self._running()
            payload = call.receive_blocking() if call is not None else None
            if payload is not None:
                break
            outcome = self._end_of(call)
            if outcome is None:
                continue
            self._run_callbacks()
            if outcome[0] == 0:
                raise StopIteration
            raise CallFailed(outcome)
        self._only = None
        try:
            return self._method.deserialize(payload)
        except Exception as error:
            failure = undeserializable(self._outcome_now(), error)
            self.cancel()
            raise CallFailed(failure) from error

    def _initial(self) -> Metadata | None:
        return self._call.initial_metadata() if self._call is not None else None

    def _outcome_now(self) -> Outcome:
        return (CANCELLED, "", None, self._initial(), None, True, False)

    def _end(self) -> Outcome:
        """Wait for the end of the call."""
        while True:
            outcome = self._end_of(self._running())
            if outcome is not None:
                return outcome

    def _end_of(self, call: ClientCall | None) -> Outcome | None:
        """Wait for the end of this attempt; None: the call was sent anew."""
        if call is None:
            assert self._failure is not None
            return self._failure
        call.wait_end_blocking()
        status = call.status()
        if status is None:
            return failed(grpc.StatusCode.UNKNOWN, "the call ended without a status")
        code, details, trailing, unprocessed = status
        outcome: Outcome = (code, details, None, call.initial_metadata(), trailing, True, unprocessed)
        only, self._only = self._only, None
        if not unprocessed or only is None:
            return outcome
        # No application code saw the call: the plan may send it once more.
        step = self._driver.advance(self._plan, outcome)
        if isinstance(step, tuple):
            return step
        self._call = None
        self._place(step)
        self._begin(only)
        return None

    def _run_callbacks(self) -> None:
        with self._placed:
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    # grpc.Call

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """Wait for the response's head."""
        call = self._running()
        if call is not None:
            call.wait_head_blocking()
        return metadata_tuple(self._initial())

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return metadata_tuple(self._end()[4])

    def code(self) -> grpc.StatusCode:
        """Wait for the end of the call. It does not come while responses wait that nobody takes."""
        return STATUS_CODES[self._end()[0]]

    def details(self) -> str:
        return self._end()[1]

    def debug_error_string(self) -> str:
        return f"{self.code().name}: {self.details()}"

    def is_active(self) -> bool:
        return self._failure is None and (self._call is None or not self._call.finished)

    def time_remaining(self) -> float | None:  # type: ignore[override]  # the stubs' own type does not exist at run time
        return time_remaining(self._deadline)

    def cancel(self) -> bool:
        """Give the call up; False if it is over already."""
        with self._placed:
            if not self.is_active():
                return False
            call = self._call
            if call is None:
                self._failure = failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED)
                self._placed.notify_all()
        if call is not None:
            call.cancel(CANCELLED, LOCALLY_CANCELLED)
        self._run_callbacks()
        return True

    def cancelled(self) -> bool:
        return not self.is_active() and self._end()[0] == CANCELLED

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Run ``callback`` when the end of the call was seen by a reader; False if it is over already."""
        with self._placed:
            if not self.is_active():
                return False
            self._callbacks.append(callback)
            return True


class _One(list[Any]):
    """The only request of a call, serialized."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload


class UnaryStream(OfMethod[Driver], grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.UnaryStreamMultiCallable`."""

    def __call__(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall:
        method = self._as_asked(credentials, compression)
        one = _One(method.serialize(request))
        return StreamCall(self._driver, method, one, timeout, metadata, wait_for_ready)


class StreamStream(OfMethod[Driver], grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.StreamStreamMultiCallable`."""

    def __call__(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall:
        method = self._as_asked(credentials, compression)
        return StreamCall(self._driver, method, request_iterator, timeout, metadata, wait_for_ready)


class StreamUnary(OfMethod[Driver], grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.StreamUnaryMultiCallable`. Built on the streaming call: its one response is the first and only."""

    def __call__(
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        return self.with_call(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)[0]

    def with_call(
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> tuple[Any, grpc.Call]:
        method = self._as_asked(credentials, compression)
        call = StreamCall(self._driver, method, request_iterator, timeout, metadata, wait_for_ready)
        return call_result(call)

    def future(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> grpc.Future:  # type: ignore[type-arg]  # generic in the stubs only
        raise NotImplementedError("StreamUnary.future is not supported in this release; call it from a thread")


def call_result(call: StreamCall) -> tuple[Any, grpc.Call]:
    """The only response of a client-streaming call."""
    responses = list(call)
    outcome = call._end()  # noqa: SLF001 - the same module
    if len(responses) != 1:
        raise CallFailed(failed(grpc.StatusCode.UNIMPLEMENTED, f"expected one response, got {len(responses)}"))
    return responses[0], EndedCall(outcome)
