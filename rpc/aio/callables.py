"""The four multi-callables of an asyncio channel, without interceptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc import aio

from rpc.aio.driver import Driver
from rpc.aio.stream import One, StreamStreamCall, StreamUnaryCall, UnaryStreamCall
from rpc.aio.unary import UnaryUnaryCall
from rpc.method import OfMethod

if TYPE_CHECKING:
    import grpc

    from rpc._native import Pairs


class UnaryUnary(OfMethod[Driver], aio.UnaryUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.UnaryUnaryMultiCallable`."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryUnaryCall:
        method = self._method
        if credentials is not None or compression is not None:
            method = self._as_asked(credentials, compression)
        return UnaryUnaryCall(self._driver, method, request, timeout, metadata, wait_for_ready)


class UnaryStream(OfMethod[Driver], aio.UnaryStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.UnaryStreamMultiCallable`."""

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryStreamCall:
        method = self._as_asked(credentials, compression)
        return UnaryStreamCall(self._driver, method, timeout, metadata, wait_for_ready, only=One(request))


class StreamUnary(OfMethod[Driver], aio.StreamUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.StreamUnaryMultiCallable`."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamUnaryCall:
        method = self._as_asked(credentials, compression)
        return StreamUnaryCall(self._driver, method, timeout, metadata, wait_for_ready, requests=request_iterator)


class StreamStream(OfMethod[Driver], aio.StreamStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.aio.StreamStreamMultiCallable`."""

    def __call__(
        self,
        request_iterator: Any = None,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamStreamCall:
        method = self._as_asked(credentials, compression)
        return StreamStreamCall(self._driver, method, timeout, metadata, wait_for_ready, requests=request_iterator)
