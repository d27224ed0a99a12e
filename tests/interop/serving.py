"""gRPC's interop test service on a server of either make and world.

A method is written once, as a generator: it yields `READ` (answered with the next request, None after the last), a
reply, or a function of the context.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from concurrent import futures

import grpc
from google.protobuf.message import Message

from tests.interop.callers import STACKS, STREAMS_REPLIES
from tests.interop.cases import ECHO_INITIAL, ECHO_TRAILING
from tests.interop.testing_pb2 import Empty, Payload, SimpleResponse, StreamingInputCallResponse
from tests.interop.testing_pb2 import StreamingOutputCallResponse as Output
from tests.interop.testing_pb2_grpc import TestServiceServicer, add_TestServiceServicer_to_server
from tests.rpc.peers import LoopThread
from tests.rpc.script import PATIENCE

READ = object()
_CODES = {code.value[0]: code for code in grpc.StatusCode}


# ---- the methods


def empty_call():
    yield READ
    yield Empty()


def unary_call():
    request = yield READ
    yield echo_metadata
    if request.response_compressed.value:
        yield compress
    yield from status(request)
    yield SimpleResponse(payload=Payload(body=bytes(request.response_size)))


def streaming_output_call():
    request = yield READ
    if any(parameters.compressed.value for parameters in request.response_parameters):
        yield compress
    yield from outputs(request)


def streaming_input_call():
    total = 0
    while (request := (yield READ)) is not None:
        total += len(request.payload.body)
    yield StreamingInputCallResponse(aggregated_payload_size=total)


def full_duplex_call():
    yield echo_metadata
    while (request := (yield READ)) is not None:
        yield from status(request)
        yield from outputs(request)


def half_duplex_call():
    requests = []
    while (request := (yield READ)) is not None:
        requests.append(request)
    for request in requests:
        yield from outputs(request)


def outputs(request):
    for parameters in request.response_parameters:
        if parameters.interval_us:
            yield lambda context, seconds=parameters.interval_us / 1e6: pause(context, seconds)
        if parameters.HasField("compressed") and not parameters.compressed.value:
            yield lambda context: context.disable_next_message_compression()
        yield Output(payload=Payload(body=bytes(parameters.size)))


def status(request):
    asked = request.response_status
    if asked.code:
        yield lambda context: context.abort(_CODES[asked.code], asked.message)


def compress(context):
    context.set_compression(grpc.Compression.Gzip)


def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if ECHO_TRAILING[0] in sent:
        context.set_trailing_metadata(((ECHO_TRAILING[0], sent[ECHO_TRAILING[0]]),))
    if ECHO_INITIAL[0] in sent:
        return context.send_initial_metadata(((ECHO_INITIAL[0], sent[ECHO_INITIAL[0]]),))
    return None


def pause(context, seconds):
    if hasattr(context, "read"):  # asyncio's contexts only
        return asyncio.sleep(seconds)
    return time.sleep(seconds)


METHODS = {
    "EmptyCall": empty_call,
    "UnaryCall": unary_call,
    "StreamingOutputCall": streaming_output_call,
    "StreamingInputCall": streaming_input_call,
    "FullDuplexCall": full_duplex_call,
    "HalfDuplexCall": half_duplex_call,
}


# ---- how they run


def _run(script, requests, context):
    requests, answer = iter(requests), None
    while True:
        try:
            step = script.send(answer)
        except StopIteration:
            return
        answer = None
        if step is READ:
            answer = next(requests, None)
        elif isinstance(step, Message):
            yield step
        else:
            step(context)


async def _run_aio(script, requests, context):
    answer = None
    while True:
        try:
            step = script.send(answer)
        except StopIteration:
            return
        answer = None
        if step is READ:
            answer = await anext(requests, None)
        elif isinstance(step, Message):
            yield step
        else:
            done = step(context)
            if inspect.isawaitable(done):
                await done


async def _only(request):
    yield request


def _method(name, *, aio):
    """A servicer's method, of the form that its cardinality has."""
    script = METHODS[name]

    def steps(request, context):
        many = not isinstance(request, Message)
        if aio:
            return _run_aio(script(), request if many else _only(request), context)
        return _run(script(), request if many else [request], context)

    if name in STREAMS_REPLIES:
        if not aio:
            return lambda _, request, context: steps(request, context)

        async def stream(_, request, context):
            async for reply in steps(request, context):
                yield reply

        return stream
    if not aio:
        return lambda _, request, context: [*steps(request, context)][-1]

    async def unary(_, request, context):
        return [reply async for reply in steps(request, context)][-1]

    return unary


SyncService = type("SyncService", (TestServiceServicer,), {name: _method(name, aio=False) for name in METHODS})
AioService = type("AioService", (TestServiceServicer,), {name: _method(name, aio=True) for name in METHODS})


@contextlib.contextmanager
def serving(stack, mode, listen="127.0.0.1:0", credentials=None):
    """The port of a server that serves until the block is left; with ``credentials`` over TLS."""
    blocking, asynchronous = STACKS[stack]
    secure = None if credentials is None else blocking.ssl_server_credentials([tuple(credentials)])

    def bound(server):
        return server.add_secure_port(listen, secure) if secure else server.add_insecure_port(listen)

    if mode == "sync":
        with futures.ThreadPoolExecutor(16) as pool:
            server = blocking.server(pool)
            add_TestServiceServicer_to_server(SyncService(), server)
            port = bound(server)
            server.start()
            yield port
            server.stop(0).wait(PATIENCE)
        return
    with contextlib.closing(LoopThread()) as loop:

        async def start():
            server = asynchronous.server()
            add_TestServiceServicer_to_server(AioService(), server)
            port = bound(server)
            await server.start()
            return server, port

        server, port = loop.run(start())
        yield port
        loop.run(server.stop(0))
