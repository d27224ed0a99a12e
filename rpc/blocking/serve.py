"""Running one handler in its thread: request in, response or stream out, status last."""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any

import grpc

from rpc.serving.context import AbortedError, CallOverError, code_number, failure_code
from rpc.serving.handlers import behaviour_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpc._native import ServerCall
    from rpc.blocking.context import ServicerContext

_log = logging.getLogger(f"proxyless.{__name__}")


def serve_call(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None) -> None:
    """Answer the call, whatever the handler does."""
    what = "Exception calling application"
    try:
        request = requests(context, handler) if payload is None else context.deserialized(handler, payload)
        behaviour = behaviour_of(handler)
        if handler.response_streaming:
            responses = behaviour(request, context)
            what = "Exception iterating responses"
            if _send_all(context, handler, responses):
                finish(context)
        else:
            _reply(context, handler, behaviour(request, context))
    except BaseException as error:  # SystemExit too: the thread is not the handler's to end
        fail(context, what, error)


def fail(context: ServicerContext, what: str, error: BaseException) -> None:
    """End the call that users' code has left by raising this; ``what`` was being done."""
    if isinstance(error, AbortedError):
        context.finish()
        return
    _log.error("%s: %s", what, context.call.path, exc_info=error)
    # A code and details that the handler has set stand, as in grpcio: generated servicers raise after set_code.
    context.fail(failure_code(context), context.message or f"{what}: {error}")


def unserved(call: ServerCall, error: BaseException) -> None:
    """Its handler was not found, or not begun, for this reason."""
    _log.error("%s could not be served", call.path, exc_info=error)
    reason = traceback.format_exception_only(error)[-1].strip()  # whatever its __str__ does
    call.finish(grpc.StatusCode.UNKNOWN.value[0], f"Error in service handler! ({reason})", None)


def refused(call: ServerCall, error: BaseException) -> None:
    """By the pool: it was shut down (RuntimeError), or is full in a way of its own."""
    if isinstance(error, RuntimeError):
        call.finish(grpc.StatusCode.UNAVAILABLE.value[0], "the server is shutting down", None)
    else:
        unserved(call, error)


def requests(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any]) -> Iterator[Any]:
    """The client's messages; ends with its last, or when the call is over."""
    call = context.call
    while (payload := call.receive_blocking()) is not None:
        yield context.deserialized(handler, payload)
    if not call.active:
        raise CallOverError


def _reply(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], response: Any) -> None:
    payload = context.serialized(handler, response)
    context.reply(payload)


def _send_all(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], responses: Iterator[Any]) -> bool:
    """False: the call is over."""
    for response in responses:
        if not send(context, handler, response):
            close = getattr(responses, "close", None)
            if close is not None:
                close()
            return False
    return True


def send(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], response: Any) -> bool:
    """One of several responses; waits for room in the client's window. False: the call is over."""
    payload = context.serialized(handler, response)
    if not context.head_sent:
        context.head_sent = True
        context.call.send_head(None)
    return context.call.send_blocking(payload, context.plain())


def finish(context: ServicerContext) -> None:
    """All responses were sent."""
    if not context.head_sent and code_number(context.status) == 0:
        context.head_sent = True
        context.call.send_head(None)
    context.finish()
