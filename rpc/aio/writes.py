"""Requests that are written one by one, as the asynchronous iterator that interceptors are shown."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from grpc import aio

FINISHED = "RPC already finished."
HALF_CLOSED = "RPC is half closed after calling done_writing()."
ONE_STYLE = "The iterator and read/write APIs may not be mixed on a single RPC."
_END = object()


class Writes:
    """Holds one request at a time: who writes waits until the last one was taken."""

    def __init__(self) -> None:
        self._held: Any = None
        self._holds = False
        self._half_closed = False
        self._over = False
        self.wanted = False  # somebody has asked for a request
        self._changed = asyncio.Event()

    async def put(self, request: Any) -> None:
        """Raises asyncio.InvalidStateError once the call is over, or half closed."""
        if self._half_closed:
            raise asyncio.InvalidStateError(HALF_CLOSED)
        await self._room()
        if self._over:
            raise asyncio.InvalidStateError(FINISHED)
        self._hold(request)

    async def end(self) -> None:
        """No more requests; says so once."""
        if not self._half_closed:
            self._half_closed = True
            await self._room()
            self._hold(_END)

    def call_over(self) -> None:
        """Nobody takes requests any more."""
        self._over = True
        self._changed.set()

    async def begun(self, chain: asyncio.Future[Any]) -> None:
        """Wait until somebody asks for requests, or the chain of interceptors has come to its call.

        Raises what an interceptor raised, asyncio.InvalidStateError where the call is over: as grpc.aio, which writes
        nothing before the chain has come to a call. Here an interceptor may ask for requests itself.
        """
        while not self.wanted and not chain.done():
            await self._change()
        if not chain.done():
            return
        if chain.cancelled():
            raise asyncio.InvalidStateError(FINISHED)
        error = chain.exception()
        if isinstance(error, aio.AioRpcError):
            raise asyncio.InvalidStateError(FINISHED)
        if error is not None:
            raise error

    def chained(self) -> None:
        """The chain has come to its call."""
        self._changed.set()

    async def _room(self) -> None:
        while self._holds and not self._over:
            await self._change()

    def _hold(self, request: Any) -> None:
        self._held, self._holds = request, True
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if not self.wanted:
            self.wanted = True
            self._changed.set()
        while not self._holds:
            if self._over:
                raise StopAsyncIteration
            await self._change()
        request = self._held
        if request is _END:
            raise StopAsyncIteration
        self._held, self._holds = None, False
        self._changed.set()
        return request


def one_style(writes: Writes | None) -> Writes:
    """Raises `grpc.aio.UsageError`: requests come from an iterator, and from there only."""
    if writes is None:
        raise aio.UsageError(ONE_STYLE)
    return writes
