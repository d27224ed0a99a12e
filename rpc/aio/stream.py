"""Streaming calls in asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from grpc import aio

from rpc.aio.planned import LoopCall
from rpc.aio.unary import aio_error, aio_metadata
from rpc.aio.writes import FINISHED, HALF_CLOSED, ONE_STYLE
from rpc.deadline import deadline_of, time_remaining
from rpc.errors import (
    CANCELLED,
    LOCALLY_CANCELLED,
    NOT_SENT,
    STATUS_CODES,
    described,
    explained,
    failed,
    given_up,
    told,
)
from rpc.handles import StreamHandle
from rpc.later import LATER, Later
from rpc.method import undeserializable, unserializable
from rpc.plan import plan_call
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from rpc._native import ClientCall, Outcome, Pairs
    from rpc.aio.driver import Driver
    from rpc.attempt import Attempt
    from rpc.errors import RouteLimit
    from rpc.method import MethodSpec


class One(NamedTuple):
    """The only request of a call."""

    request: Any


class StreamCall(LoopCall):
    """What the three streaming kinds share: placed by the plan, then messages one by one.

    The engine calls `_changed` when something about the call is new.
    """

    _beside = StreamHandle

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
        *,
        only: One | None = None,
        requests: Any = None,
    ) -> None:
        self._driver = driver
        self._method = method
        self._deadline = deadline_of(timeout)
        # The call can still be sent anew: its only request is at hand, and nothing of an answer was handed out.
        self._again = only is not None
        self._call: ClientCall | None = None
        self._outcome: Outcome | None = None
        self._limit: RouteLimit | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._callbacks: list[Callable[[Any], None]] = []
        self._sender: asyncio.Task[None] | None = None
        self._half_closed = only is not None
        try:
            payload = None if only is None else method.payload(only.request)
        except Exception as error:
            self._ended(unserializable(error))
            return
        self._plan = plan_call(driver.core, method, payload, metadata, self._deadline, wait_for_ready)
        self._go_on()
        if requests is not None:
            self._sender = driver.loop.create_task(self._send_all(requests))
            # A call that nobody holds any more is collected with its sender, and cancelled: that is no accident.
            self._sender._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own way

    # ---- placed, changed, over

    def _start(self, attempt: Attempt) -> Outcome | Later:
        self._limit = attempt.limit
        call = attempt.start(weakly(self._changed))
        if call is None:
            return NOT_SENT
        self._call = call
        if attempt.payload is not None:
            call.send(attempt.payload, end=True)
        self._changed()
        return LATER

    def _ended(self, outcome: Outcome | StreamHandle) -> None:
        if self._outcome is not None:
            return
        if isinstance(outcome, StreamHandle):  # it is being answered: this one is the call
            self._again, self._limit, self._call = False, outcome.limit, outcome.call
            self._call.watch(weakly(self._changed))
            self._changed()
            return
        if self._of_closed_channel(outcome):
            outcome = failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED)
        self._outcome = outcome
        if self._sender is not None:
            self._sender.cancel()
        told(functools.partial(callback, self) for callback in self._callbacks)
        self._wake()

    def _changed(self) -> None:
        call = self._call
        if call is not None and self._outcome is None:
            outcome = call.outcome()
            if outcome is not None:
                if self._again:
                    self._call = None  # the plan may send it anew
                    self._go_on(outcome)
                    if self._outcome is not None:  # it does not
                        self._call = call
                else:
                    self._ended(explained(outcome, self._limit))
                return
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = self._driver.loop.create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def _placed(self) -> ClientCall | None:
        while self._call is None and self._outcome is None:
            await self._change()
        return self._call

    async def _end(self) -> Outcome:
        """Wait for the end. It comes behind responses that nobody has read, as far as the window has room for them."""
        while self._outcome is None:
            await self._change()
        return self._outcome

    # ---- responses

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF` after the last; raises `grpc.aio.AioRpcError`."""
        try:
            payload = await self._receive()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if payload is None:
            outcome = await self._end()
            if outcome.ok:
                return aio.EOF
            if given_up(outcome):
                raise asyncio.CancelledError
            raise aio_error(outcome)
        try:
            return self._method.deserialize(payload)
        except Exception as error:
            raise aio_error(self._overruled(undeserializable(failed(grpc.StatusCode.INTERNAL, ""), error))) from error

    async def _receive(self) -> bytes | None:
        while (call := await self._placed()) is not None:
            payload = call.receive()
            if payload is not None:
                self._again = False
                return payload
            if call.finished:
                self._changed()
                if self._call is call:
                    self._look_back(call)
                    return None
            else:
                await self._change()
        return None

    def _look_back(self, call: ClientCall) -> None:
        """A response that waited unread when the end came may turn out to be none (its compression is broken)."""
        status = call.outcome()
        if status is not None and self._outcome is not None and self._outcome.ok and not status.ok:
            self._overruled(self._outcome.replaced(status.code, status.details))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._responses()

    async def _responses(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not aio.EOF:
            yield response

    # ---- requests

    async def write(self, request: Any) -> None:
        """Send a message; returns when the server's window has taken it.

        Raises `grpc.aio.UsageError` where the requests come from an iterator, asyncio.InvalidStateError once the call
        is over or half closed, `grpc.aio.AioRpcError` where it fails meanwhile. Who cancels it cancels the call.
        """
        self._one_style()
        if self._outcome is not None and self._call is not None:  # what was never sent says why below
            raise asyncio.InvalidStateError(FINISHED)
        try:
            await self._write(request)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def _one_style(self) -> None:
        if self._sender is not None:
            raise aio.UsageError(ONE_STYLE)

    async def _write(self, request: Any) -> None:
        payload = self._method.payload(request)
        call = await self._placed()
        if call is None or call.finished:
            if self._outcome is not None and not self._outcome.ok:
                raise aio_error(self._outcome)
            raise asyncio.InvalidStateError(FINISHED)
        if self._half_closed:
            raise asyncio.InvalidStateError(HALF_CLOSED)
        call.send(payload)
        while not call.sent:
            await self._change()

    async def done_writing(self) -> None:
        """No more messages from this side. Raises `grpc.aio.UsageError` as `write`."""
        self._one_style()
        await self._done_writing()

    async def _done_writing(self) -> None:
        if self._half_closed:
            return
        call = await self._placed()
        self._half_closed = True
        if call is not None:
            call.half_close()

    @property
    def _heard(self) -> bool:
        """The server still takes requests. It may have stopped before its last replies were read."""
        return self._call is not None and self._call.heard

    async def _send_all(self, requests: Any) -> None:
        try:
            if inspect.isasyncgen(requests) or hasattr(requests, "__aiter__"):
                async for request in requests:
                    await self._write(request)
                    if not self._heard:
                        return
            else:
                for request in requests:
                    await self._write(request)
                    if not self._heard:
                        return
            await self._done_writing()
        except (aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the call ended; who reads is told
        except Exception as error:
            self._give_up(failed(grpc.StatusCode.UNKNOWN, f"Exception iterating requests! ({error!r})"))

    # ---- grpc.aio.Call

    def _give_up(self, outcome: Outcome) -> None:
        if self._call is not None:
            self._call.cancel(outcome.code, outcome.details)
        self._give_up_plan()
        self._ended(outcome)

    def _overruled(self, outcome: Outcome) -> Outcome:
        """Our own verdict, also where the server said OK."""
        self._give_up(outcome)
        self._outcome = outcome
        return outcome

    def cancel(self) -> bool:
        if self._outcome is not None:
            return False
        if self._sender is not None:
            self._sender.cancel()
        self._give_up(failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED))
        return True

    def cancelled(self) -> bool:
        return self._outcome is not None and self._outcome.code == CANCELLED

    def done(self) -> bool:
        return self._outcome is not None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._outcome is not None:
            callback(self)
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        return time_remaining(self._deadline)

    def __repr__(self) -> str:
        return described(self, self._outcome)

    async def initial_metadata(self) -> aio.Metadata:
        call = await self._placed()
        while call is not None and not call.headed:
            await self._change()
        return aio_metadata(call.initial_metadata() if call is not None else None)

    async def trailing_metadata(self) -> aio.Metadata:
        return aio_metadata((await self._end()).trailing)

    async def code(self) -> grpc.StatusCode:
        return STATUS_CODES[(await self._end()).code]

    async def details(self) -> str:
        return (await self._end()).details

    async def debug_error_string(self) -> str:
        return (await self._end()).details

    async def wait_for_connection(self) -> None:
        """Wait until the call is on a connection; raises `grpc.aio.AioRpcError` when it failed before."""
        if await self._placed() is None and self._outcome is not None:
            raise aio_error(self._outcome)


class UnaryStreamCall(StreamCall, aio.UnaryStreamCall):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.UnaryStreamCall`."""


class StreamStreamCall(StreamCall, aio.StreamStreamCall):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.StreamStreamCall`."""


class StreamUnaryCall(StreamCall, aio.StreamUnaryCall):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.StreamUnaryCall`: awaited for its one response."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._response = self._driver.loop.create_task(self._only_response())
        # A call that is dropped without being awaited is no error to report.
        self._response.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _only_response(self) -> Any:
        response = await self.read()
        outcome = failed(grpc.StatusCode.UNIMPLEMENTED, "a client stream was not answered by exactly one message")
        if response is not aio.EOF and await self.read() is aio.EOF:
            return response
        raise aio_error(self._overruled(outcome))

    def __await__(self) -> Generator[Any, None, Any]:
        return self._response.__await__()
