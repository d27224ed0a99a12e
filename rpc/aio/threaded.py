"""Blocking handlers of an asyncio server: calls wait for a thread of the pool, a task of the loop for each of them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

from rpc.blocking.call_queue import CallQueue
from rpc.blocking.serve import serve_call
from rpc.carried import carried

if TYPE_CHECKING:
    from concurrent import futures

    import grpc

    from rpc._native import ServerCall
    from rpc.blocking.context import ServicerContext


class _Job:
    """One call, from the loop to a thread and back."""

    def __init__(
        self, context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None
    ) -> None:
        self.call: ServerCall = context.call
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._serve = functools.partial(carried(serve_call), context, handler, payload)

    def serve(self) -> None:
        try:
            self._serve()
        finally:
            self.left()

    def left(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


def _work(queue: CallQueue[_Job]) -> None:
    if (job := queue.take()) is not None:
        job.serve()


class Threads:
    """The pool as the loop's server uses it; None: the loop's own. In the loop's thread."""

    def __init__(self, pool: futures.Executor | None) -> None:
        self._queue: CallQueue[_Job] = CallQueue(_in_loops_own if pool is None else pool.submit)

    async def serve(
        self, context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None
    ) -> None:
        """Until the handler is through, or the call is over before it has begun. Cancelled: the thread runs on."""
        job = _Job(context, handler, payload)
        self._queue.put(job, _work)
        try:
            await job.over
        finally:
            self._queue.drop(job.call)


def _in_loops_own(turn: Any) -> None:
    asyncio.get_running_loop().run_in_executor(None, turn)
