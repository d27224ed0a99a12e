"""Unary calls in asyncio: started at once, completed by the engine from within the loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from rpc._native import Outcome
from rpc.aio.planned import LoopCall
from rpc.deadline import deadline_of, time_remaining
from rpc.errors import CANCELLED, LOCALLY_CANCELLED, NOT_SENT, STATUS_CODES, AioRpcError, described, failed
from rpc.later import LATER, Later
from rpc.method import undeserializable, unserializable
from rpc.plan import plan_call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from rpc._native import ClientTransport, Pairs
    from rpc.aio.driver import Driver
    from rpc.attempt import Attempt
    from rpc.handles import StreamHandle
    from rpc.method import MethodSpec


def aio_metadata(pairs: Any) -> aio.Metadata:
    return aio.Metadata(*pairs) if pairs else aio.Metadata()


def aio_error(outcome: Outcome) -> aio.AioRpcError:
    return AioRpcError(
        STATUS_CODES[outcome.code],
        aio_metadata(outcome.initial),
        aio_metadata(outcome.trailing),
        outcome.details,
        outcome.details,
    )


class UnaryUnaryCall(LoopCall, aio.UnaryUnaryCall):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.UnaryUnaryCall`. Cancelling the task that awaits it cancels the call on the wire."""

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        request: Any,
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> None:
        self._driver = driver
        self._method = method
        self._deadline = deadline_of(timeout)
        self._outcome: Outcome | None = None
        self._response: Any = None
        self._sent: tuple[ClientTransport, int] | None = None
        self._attempts = 0
        self._future: asyncio.Future[Outcome] = driver.loop.create_future()
        try:
            payload = method.payload(request)
        except Exception as error:
            self._ended(unserializable(error))
            return
        self._plan = plan_call(driver.core, method, payload, metadata, self._deadline, wait_for_ready)
        self._go_on()

    def _start(self, attempt: Attempt) -> Outcome | Later:
        number = self._attempts = self._attempts + 1
        key = attempt.start_unary(self._go_on)
        if key is None:
            return NOT_SENT
        if number == self._attempts:  # else it has failed at once, and the next has begun
            self._sent = (attempt.transport, key)
        return LATER

    def _ended(self, outcome: Outcome | StreamHandle) -> None:
        if self._outcome is not None:
            return
        assert isinstance(outcome, Outcome)  # there is one response
        if outcome.ok and outcome.payload is not None:
            try:
                self._response = self._method.deserialize(outcome.payload)
            except Exception as error:
                outcome = undeserializable(outcome, error)
        cancelled = self._of_closed_channel(outcome)
        self._outcome = failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED) if cancelled else outcome
        if cancelled:
            self._future.cancel()
        elif not self._future.done():
            self._future.set_result(outcome)

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            outcome = yield from self._future
        except asyncio.CancelledError:
            self.cancel()
            raise
        if not outcome.ok:
            raise aio_error(outcome)
        return self._response

    def cancel(self) -> bool:
        if self._outcome is not None:
            return False
        self._outcome = failed(grpc.StatusCode.CANCELLED, LOCALLY_CANCELLED)
        if self._sent is not None:
            self._sent[0].cancel(self._sent[1], CANCELLED, LOCALLY_CANCELLED)
        self._give_up_plan()
        self._future.cancel()
        return True

    def cancelled(self) -> bool:
        return self._outcome is not None and self._outcome.code == CANCELLED

    def done(self) -> bool:
        return self._outcome is not None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._future.add_done_callback(lambda _: callback(self))

    def time_remaining(self) -> float | None:
        return time_remaining(self._deadline)

    def __repr__(self) -> str:
        return described(self, self._outcome)

    async def _end(self) -> Outcome:
        if self._outcome is None:
            await asyncio.wait([self._future])
        assert self._outcome is not None
        return self._outcome

    async def initial_metadata(self) -> aio.Metadata:
        return aio_metadata((await self._end()).initial)

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
        while self._sent is None and self._outcome is None:
            await self._driver.change()
        if self._sent is None and self._outcome is not None:
            raise aio_error(self._outcome)
