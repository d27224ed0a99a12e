"""Streaming calls in threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import grpc

from rpc._native import FORKED, Outcome
from rpc.carried import carried
from rpc.deadline import deadline_of, time_remaining
from rpc.errors import (
    CANCELLED,
    LOCALLY_CANCELLED,
    NOT_SENT,
    STATUS_CODES,
    Metadatum,
    described,
    explained,
    failed,
    given_up,
    metadata_tuple,
    told,
)
from rpc.fork import generation
from rpc.method import undeserializable, unsendable
from rpc.plan import Attempt, Pause, plan_call
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rpc._native import ClientCall, Metadata, Pairs
    from rpc.blocking.driver import Driver
    from rpc.errors import RouteLimit
    from rpc.method import MethodSpec
    from rpc.plan import Answer, Plan


def _send_all(call: ClientCall, payload: Callable[[Any], bytes], requests: Iterable[Any]) -> None:
    try:
        for request in requests:
            if not call.send_blocking(payload(request)):
                return
        call.half_close()
    except Exception as error:
        call.cancel(grpc.StatusCode.UNKNOWN.value[0], f"Exception iterating requests! ({error!r})")


class StreamCall(grpc.Call, grpc.Future, grpc.RpcError):  # type: ignore[type-arg]  # generic in the stubs only
    """A streaming call: started without blocking, its requests sent by a thread of its own, its responses iterated.

    When it fails it is raised itself, as in grpcio.
    """

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        requests: Iterable[Any],
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """``on_change`` is called, by any thread, when something about the call is new; it keeps the call alive."""
        super().__init__()  # without arguments: an exception keeps those that it is made with
        self.args = ()
        self._verdict: Outcome | None = None  # of this side, whatever the server says
        self._driver = driver
        self._method = method
        self._deadline = deadline_of(timeout)
        self._placed = threading.Condition()
        self._generation = generation()
        self._call: ClientCall | None = None
        self._failure: Outcome | None = None
        self._limit: RouteLimit | None = None
        # While set, the call can still be sent anew: its only request, and nothing of an answer was handed out.
        self._only = requests if isinstance(requests, One) else None
        self._ending = threading.Lock()  # held by who looks whether the call is to be sent anew, and does it
        self._callbacks: list[Callable[[], None]] = []
        self._on_change = on_change
        self._plan = plan_call(
            driver.core,
            method.path,
            None if metadata is None else tuple(metadata),
            self._deadline,
            wait_for_ready=wait_for_ready,
            credentials=method.credentials,
        )
        pause = self._place(driver.advance_now(self._plan, None), driver.advance_now)
        if pause is not None:
            threading.Thread(target=carried(self._wait_and_place), args=(pause, requests), daemon=True).start()
            return
        self._begin(requests)

    def _wait_and_place(self, pause: Pause, requests: Iterable[Any]) -> None:
        self._place(self._driver.advance(self._plan, self._driver.perform(pause)), self._driver.advance)
        self._begin(requests)

    def _place(
        self, step: Attempt | Outcome | Pause, advance: Callable[[Plan, Answer], Attempt | Outcome | Pause]
    ) -> Pause | None:
        """Put the call on its connection, or note why there is none; or return what has to be waited for first."""
        call: ClientCall | None = None
        while isinstance(step, Attempt) and call is None and self._failure is None:
            try:
                native = self._method.native(step.authority)
                self._limit = step.limit
                call = step.start(native, self._on_change)
            except (TypeError, ValueError) as error:
                step = unsendable(error)
                continue
            if call is None:
                step = advance(self._plan, NOT_SENT)
        if isinstance(step, Pause):
            return step
        if call is None:  # the plan has ended, or nobody wants to know any more
            self._plan.close()
        with self._placed:
            if self._failure is None:  # else it was cancelled meanwhile, and dropping the call ends it
                if isinstance(step, Outcome):
                    self._failure = step
                else:
                    self._call = call
            self._placed.notify_all()
            watched = bool(self._callbacks)
        if call is not None and watched:
            call.watch(weakly(self._run_callbacks_at_end))
        if self._on_change is not None:
            self._on_change()
        return None

    def _begin(self, requests: Iterable[Any]) -> None:
        call = self._call
        if call is None:
            self._run_callbacks()
        elif isinstance(requests, One):
            # The engine's window is the only buffer: what does not fit at once is sent while the responses are read.
            call.send(requests.payload, end=True)
        else:
            # The thread must not hold this object: who lets go of it gives the call up.
            arguments = (call, self._method.payload, requests)
            threading.Thread(target=carried(_send_all), args=arguments, name="rpc requests", daemon=True).start()

    def __del__(self) -> None:
        """A call that nobody holds any more is cancelled, as in grpcio, though its requests are still being sent."""
        call = getattr(self, "_call", None)
        if call is not None and not call.finished:
            call.cancel(CANCELLED, "the call was dropped")

    def _running(self) -> ClientCall | None:
        if self._generation != generation() and self._call is None:
            self._failure = self._failure or FORKED
            return None
        with self._placed:
            self._placed.wait_for(lambda: self._call is not None or self._failure is not None)
            return self._call

    # responses

    def __iter__(self) -> Self:
        return self

    def next(self) -> Any:
        return self.__next__()

    def __next__(self) -> Any:
        while True:
            call = self._call or self._running()
            payload = call.receive_blocking() if call is not None else None
            if payload is not None:
                break
            outcome = self._end_of(call)
            if outcome is None:
                continue
            self._run_callbacks()
            if outcome.ok:
                raise StopIteration
            raise self
        self._only = None
        try:
            return self._method.deserialize(payload)
        except Exception as error:
            self._verdict = undeserializable(self._outcome_now(), error)
            self.cancel()
            raise self from error

    def _initial(self) -> Metadata | None:
        return self._call.initial_metadata() if self._call is not None else None

    def _outcome_now(self) -> Outcome:
        return Outcome(CANCELLED, initial=self._initial(), response_started=True)

    def _end(self) -> Outcome:
        """Wait for the end of the call."""
        while True:
            outcome = self._end_of(self._running())
            if outcome is not None:
                return outcome

    def _end_of(self, call: ClientCall | None) -> Outcome | None:
        """Wait for the end of this attempt; None: the call was sent anew."""
        if self._verdict is not None:
            return self._verdict
        if call is None:
            assert self._failure is not None
            return self._failure
        call.wait_end_blocking()
        outcome = call.outcome()
        if outcome is None:
            return failed(grpc.StatusCode.UNKNOWN, "the call ended without a status")
        with self._ending:
            if self._call is not call:  # another thread has sent it anew
                return None
            if self._only is None or given_up(outcome):
                return explained(outcome, self._limit)
            return self._send_anew(call, self._only, outcome)

    def _send_anew(self, call: ClientCall, only: One, outcome: Outcome) -> Outcome | None:
        """Nothing of an answer was handed out: send the call once more, if the plan says so."""
        self._call = None
        step = self._driver.advance(self._plan, outcome)
        if isinstance(step, Outcome):
            self._only = None
            with self._placed:
                self._call = call
                self._placed.notify_all()
            return self._failure or step
        self._place(step, self._driver.advance)
        self._begin(only)
        return None

    def take(self, payloads: list[bytes]) -> Outcome | None:
        """Add what has arrived, without waiting; the outcome once the call is over."""
        call = self._call
        if call is None:
            return self._failure
        while (payload := call.receive()) is not None:
            payloads.append(payload)
        outcome = call.outcome()
        return outcome and explained(outcome, self._limit)

    def take_all(self, payloads: list[bytes]) -> Outcome:
        """Wait for all messages and the end."""
        while (call := self._running()) is not None and (payload := call.receive_blocking()) is not None:
            payloads.append(payload)
        return self._end()

    def _run_callbacks_at_end(self) -> None:
        if not self.is_active():
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        with self._placed:
            callbacks, self._callbacks = self._callbacks, []
        told(callbacks)

    # grpc.Call

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        """Wait for the response's head."""
        call = self._running()
        if call is not None:
            call.wait_head_blocking()
        return metadata_tuple(self._initial())

    def trailing_metadata(self) -> tuple[Metadatum, ...]:  # type: ignore[override]  # the same, by another name
        return metadata_tuple(self._end().trailing)

    def code(self) -> grpc.StatusCode:
        """Wait for the end. It comes behind responses that nobody takes, as far as the window has room for them."""
        return STATUS_CODES[self._end().code]

    def details(self) -> str:
        return self._end().details

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
        return not self.is_active() and given_up(self._end())

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Run ``callback`` at the end of the call, its responses taken or not; False if it is over already."""
        with self._placed:
            if not self.is_active():
                return False
            self._callbacks.append(carried(callback))
            call = self._call
        if call is not None and self._on_change is None:
            call.watch(weakly(self._run_callbacks_at_end))
        self._run_callbacks_at_end()  # it may have ended before it was watched
        return True

    # grpc.Future

    def running(self) -> bool:
        return self.is_active()

    def done(self) -> bool:
        return not self.is_active()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end of the call; raises as `exception` returns. The responses are had by iterating."""
        error = self.exception(timeout)
        if error is not None:
            raise error

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end of the call; raises `grpc.FutureTimeoutError`, `grpc.FutureCancelledError`."""
        if timeout is not None:
            over = threading.Event()
            if self.add_callback(over.set) and not over.wait(timeout):
                raise grpc.FutureTimeoutError
        outcome = self._end()
        if given_up(outcome):
            raise grpc.FutureCancelledError
        return None if outcome.ok else self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        try:
            self.result(timeout)
        except grpc.RpcError as error:
            return error.__traceback__
        return None

    def __repr__(self) -> str:
        return described(self, None if self.is_active() else self._end())

    __str__ = __repr__

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if not self.add_callback(lambda: fn(self)):
            fn(self)


class One(list[Any]):
    """The only request of a call, serialized."""

    def __init__(self, payload: bytes) -> None:
        super().__init__()
        self.payload = payload
