"""What a servicer does, written once for threads and asyncio.

A script is a generator. It yields `READ` (answered with the next request, None after the last), a reply (sent, or
returned by a unary method), or a function of the context whose result is awaited where it can be.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

import grpc.aio
from grpc._cython import cygrpc

from examples.hello.hello_pb2 import HelloReply, HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer

if TYPE_CHECKING:
    import threading

READ = object()
PATIENCE = 30.0
AIO_CONTEXTS = (grpc.aio.ServicerContext, cygrpc._ServicerContext)


def greet(request):
    return HelloReply(message=f"Hello, {request.name}!", payload=request.payload)


def polite():
    """Answer every request; ``count`` asks for several replies to one."""
    while (request := (yield READ)) is not None:
        for _ in range(request.count or 1):
            yield greet(request)


class SyncServicer(GreeterServicer):
    def __init__(self, script):
        self._script = script

    def _run(self, requests, context):
        script, answer = self._script(), None
        requests = iter(requests)
        while True:
            try:
                step = script.send(answer)
            except StopIteration:
                return
            answer = None
            if step is READ:
                answer = next(requests, None)
            elif isinstance(step, HelloReply):
                yield step
            else:
                answer = step(context)

    def _last(self, requests, context):
        return [HelloReply(), *self._run(requests, context)][-1]

    def SayHello(self, request, context):  # noqa: N802 - the name of the method on the wire
        return self._last([request], context)

    def ListHellos(self, request, context):  # noqa: N802
        yield from self._run([request], context)

    def CollectHellos(self, request_iterator, context):  # noqa: N802
        return self._last(request_iterator, context)

    def Chat(self, request_iterator, context):  # noqa: N802
        yield from self._run(request_iterator, context)


class AioServicer(GreeterServicer):
    def __init__(self, script):
        self._script = script

    async def _run(self, requests, context):
        script, answer, incoming = self._script(), None, None
        while True:
            try:
                step = script.send(answer)
            except StopIteration:
                return
            answer = None
            if step is READ:
                incoming = incoming or aiter(requests)  # one that grpcio made and nobody reads warns when it is dropped
                answer = await anext(incoming, None)
            elif isinstance(step, HelloReply):
                yield step
            else:
                answer = step(context)
                if inspect.isawaitable(answer):
                    answer = await answer

    async def _last(self, requests, context):
        return [HelloReply(), *[reply async for reply in self._run(requests, context)]][-1]

    async def SayHello(self, request, context):  # noqa: N802
        return await self._last(_only(request), context)

    async def ListHellos(self, request, context):  # noqa: N802
        async for reply in self._run(_only(request), context):
            yield reply

    async def CollectHellos(self, request_iterator, context):  # noqa: N802
        return await self._last(request_iterator, context)

    async def Chat(self, request_iterator, context):  # noqa: N802
        async for reply in self._run(request_iterator, context):
            yield reply


async def _only(request):
    yield request


def wait_for(event: threading.Event):
    """A step: the handler stays until the test sets ``event``."""

    def step(context):
        if isinstance(context, AIO_CONTEXTS):
            return asyncio.to_thread(event.wait, PATIENCE)
        return event.wait(PATIENCE)

    return step


def stay_until_over(over: threading.Event):
    """A step: the handler stays until it learns that the call is over, and says so by ``over``."""

    def step(context):
        if isinstance(context, AIO_CONTEXTS):
            return _until_cancelled(over)
        if not context.add_callback(over.set):
            over.set()
        return over.wait(PATIENCE)

    return step


def greet_and_stay(over: threading.Event):
    """A script: one reply, then the handler stays. ``over`` is set too when a server does not run it any further."""

    def script():
        try:
            yield greet((yield READ))
            yield stay_until_over(over)
        finally:
            over.set()

    return script


async def _until_cancelled(over):
    try:
        await asyncio.sleep(PATIENCE)
    except asyncio.CancelledError:
        over.set()
        raise


def request(name="you", **fields):
    return HelloRequest(name=name, **fields)
