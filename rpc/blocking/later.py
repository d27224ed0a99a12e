"""Handlers that send their responses by a function that they are given, from any thread and after they have returned.

grpcio's `experimental_non_blocking`: N watchers of `grpc_health` hold no thread. An attribute of the handler's
function, as is `experimental_thread_pool`, the pool in which it is called.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rpc.blocking.serve import fail, finish, requests, send
from rpc.serving.context import AbortedError
from rpc.serving.handlers import behaviour_of

if TYPE_CHECKING:
    import grpc

    from rpc.blocking.context import ServicerContext


def sends_later(handler: grpc.RpcMethodHandler[Any, Any]) -> bool:
    return handler.response_streaming and bool(getattr(behaviour_of(handler), "experimental_non_blocking", False))


def own_pool(handler: grpc.RpcMethodHandler[Any, Any]) -> ThreadPoolExecutor | None:
    """In which the handler wants to be called instead of the server's."""
    pool = getattr(behaviour_of(handler), "experimental_thread_pool", None)
    return pool if isinstance(pool, ThreadPoolExecutor) else None


def begin_call(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None) -> None:
    """Call the handler; the call is over when it has sent None, or raised. What it returns means nothing."""

    def on_next(response: Any) -> None:
        """Waits for room in the client's window, like all that sends."""
        try:
            if response is not None:
                send(context, handler, response)
                return
            finish(context)
        except AbortedError:
            context.finish()
        context.run_callbacks()

    try:
        request = requests(context, handler) if payload is None else context.deserialized(handler, payload)
        behaviour_of(handler)(request, context, on_next)
    except BaseException as error:
        fail(context, "Exception calling application", error)
        context.run_callbacks()
