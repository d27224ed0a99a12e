"""Client interceptors: calls that run a chain of them in a task, and then are the call that the chain came to.

The chain: each interceptor gets a continuation, the call's details and its request (or an iterator of requests). What
it returns is a call, a bare response, or an iterator that takes the place of the call's responses.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, ClassVar

import grpc
from grpc import aio

from rpc.aio.callables import StreamStream, StreamUnary, UnaryStream, UnaryUnary
from rpc.aio.replaced import Answered, IteratedStreamStream, IteratedUnaryStream
from rpc.aio.writes import Writes, one_style
from rpc.deadline import deadline_of, time_remaining
from rpc.errors import CANCELLED, LOCALLY_CANCELLED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Sequence

    from rpc._native import Pairs
    from rpc.aio.driver import Driver
    from rpc.method import MethodSpec

KINDS = (
    (aio.UnaryUnaryClientInterceptor, UnaryUnary),
    (aio.UnaryStreamClientInterceptor, UnaryStream),
    (aio.StreamUnaryClientInterceptor, StreamUnary),
    (aio.StreamStreamClientInterceptor, StreamStream),
)


class InterceptedCall:
    """What all four kinds share. ``hook`` names the interceptors' method, ``plain`` makes the call behind them."""

    hook: ClassVar[str]
    plain: ClassVar[Any]

    def __init__(
        self,
        driver: Driver,
        method: MethodSpec,
        interceptors: Sequence[Any],
        request: Any,
        details: aio.ClientCallDetails,
        compression: grpc.Compression | None,
    ) -> None:
        self._driver = driver
        self._method = method
        self._compression = compression
        self._deadline = deadline_of(details.timeout)
        self._writes = request if isinstance(request, Writes) else None
        self._callbacks: list[Callable[[Any], None]] = []
        # The last call that came out of the chain so far, which an iterator may take the place of.
        self._last: Any = None
        self._responses: AsyncIterator[Any] | None = None
        self._chain: asyncio.Task[Any] = driver.loop.create_task(self._run(tuple(interceptors), details, request))
        self._chain.add_done_callback(self._chained)

    async def _run(self, interceptors: tuple[Any, ...], details: Any, request: Any) -> Any:
        if interceptors:
            continuation = functools.partial(self._run, interceptors[1:])
            result = await getattr(interceptors[0], self.hook)(continuation, details, request)
            self._last = result if isinstance(result, aio.Call) else self._replaced(result)
        else:
            call = self.plain(self._driver, self._method.at(details.method))
            self._last = call(
                request,
                timeout=details.timeout,
                metadata=details.metadata,
                credentials=details.credentials,
                wait_for_ready=details.wait_for_ready,
                compression=self._compression,
            )
        return self._last

    def _replaced(self, result: Any) -> Any:
        return Answered(result)

    def _chained(self, chain: asyncio.Task[Any]) -> None:
        if chain.cancelled() or chain.exception() is not None:
            self._call_over(None)
        else:
            chain.result().add_done_callback(self._call_over)
            if self._writes is not None:
                self._writes.chained()

    def _call_over(self, _: Any) -> None:
        if self._writes is not None:
            self._writes.call_over()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def _call(self) -> Any:
        """The call that the chain came to; None while it runs, and when it failed."""
        chain = self._chain
        return chain.result() if chain.done() and not chain.cancelled() and chain.exception() is None else None

    # ---- grpc.aio.Call

    def cancel(self) -> bool:
        if not self._chain.done():
            if self._last is not None:
                self._last.cancel()
            return self._chain.cancel()
        call = self._call()
        return call is not None and bool(call.cancel())

    def cancelled(self) -> bool:
        if not self._chain.done() or self._chain.cancelled():
            return self._chain.cancelled()
        error = self._chain.exception()
        if error is not None:
            return isinstance(error, aio.AioRpcError) and error.code().value[0] == CANCELLED
        return bool(self._chain.result().cancelled())

    def done(self) -> bool:
        call = self._call()
        return self._chain.done() if call is None else bool(call.done())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        return time_remaining(self._deadline)

    async def _ask(self, what: str, when_cancelled: Any) -> Any:
        """What the call says; what its failure says where the chain failed."""
        await asyncio.wait([self._chain])
        if self._chain.cancelled():
            return when_cancelled
        error = self._chain.exception()
        if isinstance(error, aio.AioRpcError):
            return getattr(error, what)()
        return await getattr(self._chain.result(), what)()

    async def initial_metadata(self) -> aio.Metadata | None:
        metadata: aio.Metadata | None = await self._ask("initial_metadata", None)
        return metadata

    async def trailing_metadata(self) -> aio.Metadata | None:
        metadata: aio.Metadata | None = await self._ask("trailing_metadata", None)
        return metadata

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await self._ask("code", grpc.StatusCode.CANCELLED)
        return code

    async def details(self) -> str:
        details: str = await self._ask("details", LOCALLY_CANCELLED)
        return details

    async def debug_error_string(self) -> str | None:
        text: str | None = await self._ask("debug_error_string", "")
        return text

    async def wait_for_connection(self) -> None:
        await (await self._chain).wait_for_connection()

    # ---- one response

    def __await__(self) -> Generator[Any, None, Any]:
        call = yield from self._chain.__await__()
        return (yield from call.__await__())

    # ---- a stream of responses

    async def _each(self) -> AsyncIterator[Any]:
        async for response in await self._chain:
            yield response

    def __aiter__(self) -> AsyncIterator[Any]:
        if self._responses is None:
            self._responses = self._each()
        return self._responses

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF` after the last; raises `grpc.aio.AioRpcError`."""
        try:
            return await anext(self.__aiter__())
        except StopAsyncIteration:
            return aio.EOF

    # ---- a stream of requests

    async def write(self, request: Any) -> None:
        writes = one_style(self._writes)
        await writes.begun(self._chain)
        await writes.put(request)

    async def done_writing(self) -> None:
        writes = one_style(self._writes)
        await writes.begun(self._chain)
        await writes.end()


class InterceptedUnaryUnaryCall(InterceptedCall, aio.UnaryUnaryCall):  # type: ignore[misc, type-arg]
    hook = "intercept_unary_unary"
    plain = UnaryUnary


class InterceptedUnaryStreamCall(InterceptedCall, aio.UnaryStreamCall):  # type: ignore[misc, type-arg]
    hook = "intercept_unary_stream"
    plain = UnaryStream

    def _replaced(self, result: Any) -> Any:
        return IteratedUnaryStream(self._last or Answered(None), result)


class InterceptedStreamUnaryCall(InterceptedCall, aio.StreamUnaryCall):  # type: ignore[misc, type-arg]
    hook = "intercept_stream_unary"
    plain = StreamUnary


class InterceptedStreamStreamCall(InterceptedCall, aio.StreamStreamCall):  # type: ignore[misc, type-arg]
    hook = "intercept_stream_stream"
    plain = StreamStream

    def _replaced(self, result: Any) -> Any:
        return IteratedStreamStream(self._last or Answered(None), result)


class Intercepted:
    """A multi-callable behind interceptors. ``made`` is the class of its calls."""

    def __init__(
        self, made: type[InterceptedCall], interceptors: Sequence[Any], driver: Driver, method: MethodSpec
    ) -> None:
        self._made = made
        self._interceptors = interceptors
        self._driver = driver
        self._method = method

    def __call__(
        self,
        request: Any = None,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> InterceptedCall:
        if metadata is None:
            metadata = aio.Metadata()
        elif not isinstance(metadata, aio.Metadata):
            metadata = aio.Metadata(*metadata)
        # As in grpc.aio, whose interceptors know the method as bytes, whatever its documentation says.
        path: Any = self._method.path.encode()
        details = aio.ClientCallDetails(path, timeout, metadata, credentials, wait_for_ready)
        if request is None and self._made.plain in {StreamUnary, StreamStream}:
            request = Writes()
        return self._made(self._driver, self._method, self._interceptors, request, details, compression)


class InterceptedUnaryUnary(Intercepted, aio.UnaryUnaryMultiCallable):  # type: ignore[misc, type-arg]
    """`grpc.aio.UnaryUnaryMultiCallable`."""


class InterceptedUnaryStream(Intercepted, aio.UnaryStreamMultiCallable):  # type: ignore[misc, type-arg]
    """`grpc.aio.UnaryStreamMultiCallable`."""


class InterceptedStreamUnary(Intercepted, aio.StreamUnaryMultiCallable):  # type: ignore[misc, type-arg]
    """`grpc.aio.StreamUnaryMultiCallable`."""


class InterceptedStreamStream(Intercepted, aio.StreamStreamMultiCallable):  # type: ignore[misc, type-arg]
    """`grpc.aio.StreamStreamMultiCallable`."""


_INTERCEPTED: tuple[tuple[type[Intercepted], Any], ...] = (
    (InterceptedUnaryUnary, InterceptedUnaryUnaryCall),
    (InterceptedUnaryStream, InterceptedUnaryStreamCall),
    (InterceptedStreamUnary, InterceptedStreamUnaryCall),
    (InterceptedStreamStream, InterceptedStreamStreamCall),
)


def intercepted_kinds(interceptors: Sequence[Any] | None) -> tuple[Any, Any, Any, Any]:
    """What makes a channel's multi-callables; one of several kinds intercepts all of them. Raises ValueError."""
    for interceptor in interceptors or ():
        if not isinstance(interceptor, tuple(base for base, _ in KINDS)):
            names = " or ".join(base.__name__ for base, _ in KINDS)
            raise ValueError(f"Interceptor {interceptor} must be {names}")  # noqa: TRY004 - grpc.aio's own
    kinds: list[Any] = []
    for (base, plain), (callable_, call) in zip(KINDS, _INTERCEPTED, strict=True):
        chosen = [one for one in interceptors or () if isinstance(one, base)]
        kinds.append(functools.partial(callable_, call, chosen) if chosen else plain)
    return kinds[0], kinds[1], kinds[2], kinds[3]
