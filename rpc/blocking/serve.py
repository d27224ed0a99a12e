"""Running one handler in its thread: request in, response or stream out, status last."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from rpc.context import AbortedError, CallOverError, code_number, failure_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from rpc.blocking.context import ServicerContext

_log = logging.getLogger(__name__)


def serve_call(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None) -> None:
    """Answer the call, whatever the handler does."""
    what = "Exception calling application"
    try:
        request = requests(context, handler) if payload is None else context.deserialized(handler, payload)
        behaviour = _behaviour(handler)
        if handler.response_streaming:
            responses = behaviour(request, context)
            what = "Exception iterating responses"
            _send_all(context, handler, responses)
            context.finish()
        else:
            _reply(context, handler, behaviour(request, context))
    except AbortedError:
        context.finish()
    except Exception as error:
        _log.exception("%s: %s", what, context.call.path)
        # A code and details that the handler has set stand, as in grpcio: generated servicers raise after set_code.
        context.fail(failure_code(context), context.message or f"{what}: {error}")


def _behaviour(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    return handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream


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


def _send_all(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], responses: Iterator[Any]) -> None:
    for response in responses:
        payload = context.serialized(handler, response)
        if not context.head_sent:
            context.head_sent = True
            context.call.send_head(None)
        if not context.call.send_blocking(payload, context.plain()):
            close = getattr(responses, "close", None)
            if close is not None:
                close()
            return
    if not context.head_sent and code_number(context.status) == 0:
        context.head_sent = True
        context.call.send_head(None)
