"""The asyncio server's limit of calls, and its end."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest

import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from tests.rpc.peers import LoopThread
from tests.rpc.script import PATIENCE, READ, AioServicer, SyncServicer, greet
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import until


class Passes(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        await asyncio.sleep(0)
        return await continuation(details)


@pytest.fixture
def loop():
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def serve(loop):
    channels = []

    def start(servicer, **how):
        async def begin():
            server = rpc.aio.server(**how)
            add_GreeterServicer_to_server(servicer, server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            return server, port

        server, port = loop.run(begin())
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}"))
        return server, GreeterStub(channels[-1])

    yield start
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("servicer", [AioServicer, SyncServicer])
def test_interceptors_are_no_calls_of_their_own(loop, serve, servicer):
    go = asyncio.Event()
    arrived = []

    def script():
        request = yield READ
        if request.name == "stays":
            arrived.append(request)
            yield lambda _: go.wait() if servicer is AioServicer else until(go.is_set)
        yield greet(request)

    server, stub = serve(servicer(script), interceptors=[Passes()], maximum_concurrent_rpcs=1)
    for n in range(5):
        assert stub.SayHello(asked(str(n)), timeout=PATIENCE).message == f"Hello, {n}!"
        until(lambda: server._intake.running == 0)
    stays = stub.SayHello.future(asked("stays"), timeout=PATIENCE)
    until(lambda: arrived)
    with pytest.raises(grpc.RpcError) as refused:
        stub.SayHello(asked("second"), timeout=PATIENCE)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    loop.loop.call_soon_threadsafe(go.set)
    assert stays.result(PATIENCE).message == "Hello, stays!"
    loop.run(server.stop(0))


def test_an_interceptor_stops_when_its_client_leaves(loop, serve):
    waits, cancelled = [], []

    class Waits(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            waits.append(details)
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                cancelled.append(details)
                raise

    server, stub = serve(AioServicer(lambda: iter(())), interceptors=[Waits()])
    call = stub.SayHello.future(asked("Ann"), timeout=PATIENCE)
    until(lambda: waits)
    call.cancel()
    until(lambda: cancelled)
    until(lambda: not server._tasks)
    loop.run(server.stop(0))


@pytest.mark.parametrize("grace", [None, 0.1])
def test_a_handler_that_does_not_let_itself_be_cancelled_keeps_no_server_from_its_end(loop, serve, grace):
    over = []

    async def stubborn(_):
        end = time.monotonic() + PATIENCE
        while not over and time.monotonic() < end:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                over.append("cancelled")
                await asyncio.sleep(2)  # cleans up
                over.append("clean")

    def script():
        yield READ
        arrived.append(1)
        yield stubborn

    arrived = []
    server, stub = serve(AioServicer(script))
    call = stub.SayHello.future(asked("Ann"), timeout=PATIENCE)
    until(lambda: arrived)
    loop.run(server.stop(grace))
    assert over == ["cancelled"], "the server waited for it"
    assert call.code() == grpc.StatusCode.UNAVAILABLE
    until(lambda: over == ["cancelled", "clean"])
