"""Running one asyncio handler: request in, response or stream out, status last."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

from rpc.serving.context import AbortedError, code_number, failure_code
from rpc.serving.handlers import behaviour_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rpc.aio.context import ServicerContext

_log = logging.getLogger(f"proxyless.{__name__}")
# How a call ends whose handler was cancelled though the client waits; True: the server stops, and another may serve it.
CANCELLED_HANDLER = {
    False: (grpc.StatusCode.CANCELLED, "the handler was cancelled"),
    True: (grpc.StatusCode.UNAVAILABLE, "the server stopped"),
}


async def serve_call(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], payload: bytes | None) -> None:
    """Answer the call, whatever the handler does."""
    if not context.server.still_waits(context.call):
        context.end()
        return
    try:
        request = requests(context) if payload is None else context.deserialized(handler, payload)
        if handler.response_streaming:
            await _stream(context, handler, request)
        else:
            _reply(context, handler, await behaviour_of(handler)(request, context))
    except AbortedError:
        context.finish()
    except asyncio.CancelledError:
        if context.call.active:  # not the client's doing: the server stops, or the handler was cancelled
            context.fail(*CANCELLED_HANDLER[context.server.stopping])
    except Exception as error:
        _log.exception("Unexpected [%s] raised by servicer method [%s]", type(error).__name__, context.call.path)
        # A code that the handler has set stands, as in grpcio: generated servicers raise after set_code.
        context.fail(failure_code(context), f"Unexpected {type(error)}: {error}")
    finally:
        context.end()


async def requests(context: ServicerContext) -> AsyncIterator[Any]:
    """The client's messages; ends with its last."""
    while (request := await context.read()) is not aio.EOF:
        yield request


def _reply(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], response: Any) -> None:
    if code_number(context.status) != 0:
        context.finish()
        return
    context.reply(context.serialized(handler, response))


async def _stream(context: ServicerContext, handler: grpc.RpcMethodHandler[Any, Any], request: Any) -> None:
    responses = behaviour_of(handler)(request, context)
    if inspect.isawaitable(responses):
        await responses  # the handler wrote by context.write
    else:
        try:
            async for response in responses:
                await context.write(response)
        finally:  # here, in its own context; the garbage collector would do it in another, later
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()
    if code_number(context.status) == 0:
        context.send_head_once()
    context.finish()
