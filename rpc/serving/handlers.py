"""Which handler answers a method: what both servers share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from rpc.errors import metadata_tuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rpc._native import ServerCall
    from rpc.errors import Metadatum

    Continuation = Callable[["CallDetails"], grpc.RpcMethodHandler[Any, Any] | None]


def behaviour_of(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """What answers; users' own handlers need no more than the attribute of their kind."""
    if handler.response_streaming:
        return handler.stream_stream if handler.request_streaming else handler.unary_stream
    return handler.stream_unary if handler.request_streaming else handler.unary_unary


def is_blocking(handler: grpc.RpcMethodHandler[Any, Any]) -> bool:
    """The handler is neither a coroutine nor an asynchronous generator: in an asyncio server it needs a thread."""
    behaviour = behaviour_of(handler)
    return not (inspect.iscoroutinefunction(behaviour) or inspect.isasyncgenfunction(behaviour))


class _CallDetails(NamedTuple):
    method: str
    invocation_metadata: tuple[Metadatum, ...]


class CallDetails(_CallDetails, grpc.HandlerCallDetails):  # type: ignore[misc]  # an untyped base in the stubs
    """What generic handlers and interceptors are shown."""


class HandlerTable:
    """Registered handlers by path, then generic ones in order; interceptors around both."""

    def __init__(self, generic: Iterable[grpc.GenericRpcHandler], interceptors: Iterable[Any]) -> None:
        self._registered: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._generic: list[grpc.GenericRpcHandler] = []
        self.add_generic(generic)
        self.interceptors = tuple(interceptors)
        for interceptor in self.interceptors:
            if not callable(getattr(interceptor, "intercept_service", None)):
                why = f"{interceptor!r} is no interceptor of servers: it has no intercept_service"
                raise ValueError(why)  # noqa: TRY004 - grpc.aio's own
        # The fast way: registered handlers that no interceptor wants to see. Who is not in it: ask `find`.
        self.plain: Mapping[str, grpc.RpcMethodHandler[Any, Any]] = {} if self.interceptors else self._registered

    def add_generic(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        for handler in handlers:
            if getattr(handler, "service", None) is None:
                raise AttributeError(f'"{handler}" must conform to grpc.GenericRpcHandler: it has no service method')
            self._generic.append(handler)

    def add_registered(self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self._registered.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    def details(self, call: ServerCall) -> CallDetails:
        return CallDetails(call.path, metadata_tuple(call.metadata()))

    def find(self, details: CallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Without interceptors; the innermost step of their chain."""
        registered = self._registered.get(details.method)
        if registered is not None:
            return registered
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                return handler
        return None
