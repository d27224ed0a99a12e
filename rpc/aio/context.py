"""`grpc.aio.ServicerContext`."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from grpc import aio

from rpc.errors import metadata_tuple, told
from rpc.serving.context import AbortedError, CallState, text_of

if TYPE_CHECKING:
    import grpc

    from rpc._native import Pairs, ServerCall
    from rpc.errors import Metadatum


class Serves(Protocol):
    stopping: bool

    def still_waits(self, call: ServerCall) -> bool: ...


class _AbortError(AbortedError, aio.AbortError):
    """Handlers may catch it as grpcio's."""


class ServicerContext(CallState, aio.ServicerContext):  # type: ignore[misc, type-arg]  # an untyped base in the stubs
    """One call, for the coroutine that answers it."""

    def __init__(
        self,
        call: ServerCall,
        server: Serves,
        loop: asyncio.AbstractEventLoop,
        handler: grpc.RpcMethodHandler[Any, Any],
    ) -> None:
        super().__init__(call)
        self.server = server
        self._aborted = False
        self._loop = loop
        self._handler = handler
        self._waiters: set[asyncio.Future[None]] = set()
        self._callbacks: list[Any] = []
        self._over = False

    def on_change(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def read(self) -> Any:
        """The next request, or `grpc.aio.EOF` after the last."""
        call = self.call
        while True:
            payload = call.receive()
            if payload is not None:
                return self.deserialized(self._handler, payload)
            if call.ended:
                return aio.EOF
            await self._change()

    async def write(self, message: Any) -> None:
        """Send a response; returns when the client's window has taken it."""
        payload = self.serialized(self._handler, message)
        call = self.call
        if not call.active:
            raise asyncio.CancelledError
        self.send_head_once()
        call.send(payload, self.plain())
        while not call.sent:
            await self._change()

    def send_head_once(self, metadata: Pairs | None = None) -> None:
        if not self.head_sent:
            self.head_sent = True
            self.call.send_head(metadata)

    def set_compression(self, compression: grpc.Compression) -> None:
        if self.head_sent:
            raise RuntimeError("Compression setting must be specified before sending initial metadata")
        super().set_compression(compression)

    async def send_initial_metadata(self, initial_metadata: Pairs) -> None:
        if self.head_sent:
            raise aio.UsageError("Send initial metadata failed: already sent")
        self.send_head_once(metadata_tuple(initial_metadata))

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()) -> NoReturn:
        """Raises `grpc.aio.AbortError`, which ends the handler. The first time counts."""
        if not self._aborted:
            self._aborted = True
            self.begin_abort(code, details, trailing_metadata)
        raise _AbortError

    async def abort_with_status(self, status: Any) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    def details(self) -> str:
        return text_of(self.message)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:  # type: ignore[override]  # a tuple in grpcio, too
        return self.trailing or ()

    def add_done_callback(self, callback: Any) -> None:
        if self._over:
            callback(self)
        else:
            self._callbacks.append(callback)

    def end(self) -> None:
        """The handler is through: tell who asked."""
        self.call.unwatch()
        self._over = True
        told(functools.partial(callback, self) for callback in self._callbacks)

    def cancelled(self) -> bool:
        return not self.call.active

    def done(self) -> bool:
        return self._over
