"""Blocking handlers in an asyncio server: they run in threads, beside coroutines, as in grpc.aio."""

from __future__ import annotations

import asyncio
import threading
from concurrent import futures

import grpc
import grpc.aio
import pytest

import rpc.aio
from examples.hello.hello_pb2 import HelloReply
from examples.hello.hello_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server
from tests.rpc.peers import KINDS, World
from tests.rpc.script import PATIENCE, READ, SyncServicer, polite, request, stay_until_over


@pytest.fixture(params=["grpcio", "ours"])
def world(request):
    world = World("aio", "ours", request.param)
    yield world
    world.close()


@pytest.fixture
def serve(world):
    """Serve a blocking servicer on an asyncio server."""
    servers = []
    pool = futures.ThreadPoolExecutor(4, thread_name_prefix="migrated")

    async def start(servicer, **how):
        server = (rpc.aio if world.server_make == "ours" else grpc.aio).server(pool, **how)
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(servicer, server)
        await server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield lambda servicer, **how: world.loop.run(start(servicer, **how))
    for server in servers:
        world.loop.run(server.stop(0))
    pool.shutdown()


def supported(world, kind):
    if world.server_make == "grpcio" and kind in {"client_stream", "bidi"}:
        pytest.skip("grpc.aio has no blocking handlers of client streams")


@pytest.mark.parametrize("kind", KINDS)
def test_a_blocking_handler_answers_from_the_pool(world, serve, kind):
    supported(world, kind)
    threads = []

    def noting():
        threads.append(threading.current_thread().name)
        yield from polite()

    client = world.connect(serve(SyncServicer(noting)))
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    assert threads[0].startswith("migrated")


@pytest.mark.parametrize("kind", KINDS)
def test_a_blocking_handler_may_abort(world, serve, kind):
    supported(world, kind)

    def refuse():
        yield READ
        yield lambda context: context.set_trailing_metadata((("x-why", "because"),))
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    answer = world.connect(serve(SyncServicer(refuse))).call(kind, request())
    assert (answer.code.name, answer.details) == ("NOT_FOUND", "no such thing")
    assert answer.trailing == [("x-why", "because")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_of_a_blocking_handler_is_unknown(world, serve, kind, caplog):
    supported(world, kind)

    def broken():
        yield READ
        raise KeyError("lost key")

    answer = world.connect(serve(SyncServicer(broken))).call(kind, request())
    assert answer.code is grpc.StatusCode.UNKNOWN
    assert "lost key" in answer.details


def test_a_blocking_stream_goes_at_the_readers_pace(world, serve):
    def many():
        yield READ
        for number in range(300):
            yield HelloReply(message=str(number), payload=bytes(10_000))

    answer = world.connect(serve(SyncServicer(many))).call("server_stream", request())
    assert [reply.message for reply in answer.replies] == [str(number) for number in range(300)]


def test_coroutines_and_blocking_handlers_serve_side_by_side(world, serve):
    class Mixed(GreeterServicer):
        def SayHello(self, request, context):  # noqa: N802
            return HelloReply(message=threading.current_thread().name)

        async def ListHellos(self, request, context):  # noqa: N802
            await asyncio.sleep(0)
            yield HelloReply(message=threading.current_thread().name)

    client = world.connect(serve(Mixed()))
    assert client.call("unary", request()).messages[0].startswith("migrated")
    assert client.call("server_stream", request()).messages == ["test loop"]


def test_a_blocking_handler_learns_that_the_client_left(aio_world):
    pool = futures.ThreadPoolExecutor(4)
    arrived, over = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    async def start():
        server = rpc.aio.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(SyncServicer(stay), server)
        await server.start()
        return server, port

    server, port = aio_world.loop.run(start())
    call = aio_world.connect(f"127.0.0.1:{port}").begin("server_stream", request())
    assert arrived.wait(PATIENCE)
    call.cancel()
    assert over.wait(PATIENCE)
    aio_world.loop.run(server.stop(0))
    pool.shutdown()


def test_calls_beyond_the_maximum_are_refused(world, serve):
    arrived, go = threading.Event(), threading.Event()

    class Waiting(GreeterServicer):
        def SayHello(self, request, context):  # noqa: N802
            arrived.set()
            go.wait(PATIENCE)
            return HelloReply(message="done")

    client = world.connect(serve(Waiting(), maximum_concurrent_rpcs=1))
    first = client.begin("unary", request())
    assert arrived.wait(PATIENCE)
    assert client.call("unary", request()).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    go.set()
    assert first.code() is grpc.StatusCode.OK
