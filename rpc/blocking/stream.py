"""Streaming calls in threads."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any, Self, cast

import grpc

from rpc._native import FORKED, Outcome
from rpc.blocking.planned import UnattendedCall
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
from rpc.handles import StreamHandle
from rpc.later import LATER, Later
from rpc.method import undeserializable
from rpc.plan import plan_call
from rpc.weakly import weakly
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rpc._native import ClientCall, Metadata, Pairs
    from rpc.attempt import Attempt
    from rpc.blocking.driver import Driver
    from rpc.errors import RouteLimit
    from rpc.method import MethodSpec


def _send_all(payload: Callable[[Any], bytes], requests: Iterable[Any], call: ClientCall) -> None:
    try:
        for request in requests:
            if not call.send_blocking(payload(request)):
                return
        call.half_close()
    except Exception as error:
        call.cancel(grpc.StatusCode.UNKNOWN.value[0], f"Exception iterating requests! ({error!r})")


class StreamCall(UnattendedCall, grpc.Call, grpc.Future, grpc.RpcError):  # type: ignore[type-arg]  # in the stubs only
    """A streaming call: started without blocking, its requests sent by a thread of its own, its responses iterated.

    When it fails it is raised itself, as in grpcio.
    """

    _beside = StreamHandle

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
        self._driver = driver
        self._method = method
        self._deadline = deadline_of(timeout)
        self._placed = threading.Condition()
        self._generation = generation()
        self._call: ClientCall | None = None
        self._outcome: Outcome | None = None  # where the end is not what the server said on `_call`
        self._limit: RouteLimit | None = None
        # The call can still be sent anew: its only request is at hand, and nothing of an answer was handed out.
        self._again = isinstance(requests, One)
        self._ended_call: ClientCall | None = None  # while the plan says whether it is sent anew
        self._callbacks: list[Callable[[], None]] = []
        self._on_change = on_change
        payload = requests.payload if isinstance(requests, One) else None
        # The thread must not hold this object: who lets go of it gives the call up.
        self._send = None if payload is not None else carried(functools.partial(_send_all, method.payload, requests))
        self._plan = plan_call(driver.core, method, payload, metadata, self._deadline, wait_for_ready)
        self._set_out()

    # placed, over

    def _start(self, attempt: Attempt) -> Outcome | Later:
        call = attempt.start(self._on_change)
        if call is None:
            return NOT_SENT
        if self._place(call, attempt.limit):
            if self._send is None:
                # The engine's window is the only buffer: what does not fit at once is sent while responses are read.
                call.send(cast("bytes", attempt.payload), end=True)
            else:
                must_begin(self._send, "rpc requests", call)
        return LATER

    def _place(self, call: ClientCall, limit: RouteLimit | None) -> bool:
        """From now on it is this one; False: it was cancelled meanwhile, and dropping it ends it."""
        with self._placed:
            if self._outcome is not None:
                return False
            self._call, self._limit, self._ended_call = call, limit, None
            self._placed.notify_all()
            watched = bool(self._callbacks)
        if watched:
            call.watch(weakly(self._run_callbacks_at_end))
        if self._on_change is not None:
            self._on_change()
        return True

    def _ended(self, result: Outcome | StreamHandle) -> None:
        if isinstance(result, StreamHandle):  # it is being answered: this one is the call
            self._again = False
            if self._place(result.call, result.limit) and self._on_change is not None:
                result.call.watch(self._on_change)
            return
        with self._placed:
            self._again = False
            self._call, self._ended_call = self._ended_call, None
            if self._outcome is None and (self._call is None or not result.ok):  # else what it says itself, read whole
                self._outcome = result
            self._placed.notify_all()
        self._run_callbacks()
        if self._on_change is not None:
            self._on_change()

    @property
    def _over(self) -> bool:
        return self._outcome is not None

    def __del__(self) -> None:
        """A call that nobody holds any more is cancelled, as in grpcio, though its requests are still being sent."""
        call = getattr(self, "_call", None)
        if call is not None and not call.finished:
            call.cancel(CANCELLED, "the call was dropped")

    def _running(self) -> ClientCall | None:
        if self._generation != generation() and self._call is None:
            self._outcome = self._outcome or FORKED
            return None
        with self._placed:
            self._placed.wait_for(lambda: self._call is not None or self._outcome is not None)
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
        self._again = False
        try:
            return self._method.deserialize(payload)
        except Exception as error:
            known = Outcome(CANCELLED, initial=self._initial(), response_started=True)
            self._give_up(undeserializable(known, error))
            raise self from error

    def _initial(self) -> Metadata | None:
        if self._call is not None:
            return self._call.initial_metadata()
        return self._outcome.initial if self._outcome is not None else None

    def _end(self) -> Outcome:
        """Wait for the end of the call."""
        while True:
            outcome = self._end_of(self._running())
            if outcome is not None:
                return outcome

    def _end_of(self, call: ClientCall | None) -> Outcome | None:
        """Wait for the end of this attempt; None: it is not the call's, look again."""
        if self._outcome is not None:
            return self._outcome
        if call is None:
            return None
        if not call.finished:
            call.wait_end_blocking()
        outcome = call.outcome()
        if outcome is None:
            return failed(grpc.StatusCode.UNKNOWN, "the call ended without a status")
        with self._placed:
            if self._call is not call:  # another thread was faster to look
                return None
            if not self._again or given_up(outcome):
                return explained(outcome, self._limit)
            self._call, self._ended_call = None, call
        self._go_on(outcome)
        return None

    def take(self, payloads: list[bytes]) -> Outcome | None:
        """Add what has arrived, without waiting; the outcome once the call is over."""
        call = self._call
        if call is None:
            return self._outcome
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
        while (call := self._call) is not None and self._outcome is None and call.finished:
            if not self._again or self._end_of(call) is not None:  # the attempt is over; the call may be sent anew
                return False
        return self._outcome is None

    def time_remaining(self) -> float | None:  # type: ignore[override]  # the stubs' own type does not exist at run time
        return time_remaining(self._deadline)

    def cancel(self) -> bool:
        """Give the call up; False if it is over already."""
        if not self.is_active():
            return False
        self._give_up(None)
        return True

    def _give_up(self, verdict: Outcome | None) -> None:
        """No more of it. ``verdict``: how it ends, whatever the server says."""
        with self._placed:
            call = self._call
            if verdict is None and call is None and self._outcome is None:  # nothing on the wire will say so
                verdict = failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED)
            self._outcome = verdict or self._outcome
            self._placed.notify_all()
        if call is not None:
            call.cancel(CANCELLED, LOCALLY_CANCELLED)
        self._give_up_plan()
        self._run_callbacks()

    def cancelled(self) -> bool:
        return not self.is_active() and given_up(self._end())

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Run ``callback`` at the end of the call, its responses taken or not; False if it is over already."""
        if not self.is_active():
            return False
        with self._placed:
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
