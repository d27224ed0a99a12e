"""Calls that still wait for a connection, beside grpcio: bad metadata, channels that close, servers that stop."""

from __future__ import annotations

import asyncio
import socket
from operator import attrgetter

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.peers import KINDS, STREAMS_REQUESTS, World
from tests.rpc.script import PATIENCE, polite, request

AT_ONCE = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max")]
UNSENDABLE = {"a name": ("Bad Name", "x"), "a value": ("x", "b\x00ad")}


@pytest.fixture(params=["grpcio", "ours"])
def make(request):
    return request.param


@pytest.fixture
def reserved():
    """A port where nobody listens yet."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


# ---- who waits no longer


def test_a_close_that_is_given_up_has_closed_the_channel(reserved):
    async def close():
        channel = rpc.aio.insecure_channel(f"127.0.0.1:{reserved}")
        call = channel.unary_unary("/a/b")(b"", wait_for_ready=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(channel.close(PATIENCE), 0.2)
        with pytest.raises(asyncio.CancelledError):
            await call
        assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN

    asyncio.run(asyncio.wait_for(close(), PATIENCE))


def test_who_stops_waiting_for_a_state_lets_the_others_hear_of_it():
    async def woken():
        channel = rpc.aio.insecure_channel("127.0.0.1:1")
        driver = channel._driver
        waiting = [asyncio.ensure_future(driver.change()) for _ in range(20)]
        await asyncio.sleep(0)
        driver.core.changed()
        for task in waiting[::2]:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*waiting[1::2]), PATIENCE)
        await channel.close()

    asyncio.run(woken())


# ---- metadata that cannot be sent


@pytest.mark.parametrize("pair", UNSENDABLE.values(), ids=UNSENDABLE)
@pytest.mark.parametrize("wait_for_ready", [False, True])
@pytest.mark.parametrize("call", KINDS)
def test_metadata_that_cannot_be_sent_is_internal_without_a_connection_too(make, reserved, call, pair, wait_for_ready):
    world = World("sync", make)
    try:
        client = world.connect(f"127.0.0.1:{reserved}")
        # Waiting for a connection would end with the deadline, failing to connect with UNAVAILABLE.
        answer = client.call(call, request(), metadata=[pair], wait_for_ready=wait_for_ready)
        assert answer.code is grpc.StatusCode.INTERNAL
        assert answer.details.startswith("Invalid metadata")
    finally:
        world.close()


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_future_and_asyncio_say_the_same(reserved, kind):
    world = World(kind)
    try:
        client = world.connect(f"127.0.0.1:{reserved}")
        for call in KINDS:
            answer = client.call(call, request(), metadata=[("Bad Name", "x")], wait_for_ready=True)
            assert answer.code is grpc.StatusCode.INTERNAL
            assert answer.details.startswith('Invalid metadata: "Bad Name"')
        if kind == "sync":
            future = client.stub.SayHello.future(request(), metadata=[("Bad Name", "x")], timeout=PATIENCE)
            assert future.code() is grpc.StatusCode.INTERNAL
    finally:
        world.close()


@pytest.mark.parametrize("call", ["SayHello", "SayHello.future", "ListHellos", "CollectHellos.future", "Chat"])
@pytest.mark.parametrize("connected", [False, True])
def test_what_is_no_text_is_a_type_error_in_threads(make, reserved, connected, call):
    world = World("sync", make)
    try:
        client = world.connect(world.serve(polite) if connected else f"127.0.0.1:{reserved}")
        if connected:
            grpc.channel_ready_future(client.channel).result(PATIENCE)
        given = request() if "Hello" in call and "Collect" not in call and call != "Chat" else iter([request()])
        with pytest.raises(TypeError):
            attrgetter(call)(client.stub)(given, metadata=[("x-bin", "text")], timeout=PATIENCE)
    finally:
        world.close()


def test_what_is_no_text_is_internal_in_asyncio(reserved):
    world = World("aio")
    try:
        client = world.connect(f"127.0.0.1:{reserved}")
        answer = client.call("unary", request(), metadata=[("x-bin", "text")], wait_for_ready=True)
        assert answer.code is grpc.StatusCode.INTERNAL
    finally:
        world.close()


# ---- channels of asyncio that close with a grace


@pytest.mark.parametrize("module", [grpc.aio, rpc.aio], ids=["grpcio", "ours"])
@pytest.mark.parametrize("call", ["SayHello", "ListHellos"])
def test_a_call_that_waits_is_cancelled_as_soon_as_its_channel_is_closed(module, call, reserved):
    async def close():
        channel = module.insecure_channel(f"127.0.0.1:{reserved}")
        waiting = getattr(GreeterStub(channel), call)(request(), wait_for_ready=True)
        await asyncio.sleep(0.1)
        await channel.close()
        return waiting.done(), waiting.cancelled()

    assert asyncio.run(close()) == (True, True)


async def closing(channel, call, listen):
    """Close with grace while ``call`` waits for its connection; then somebody listens."""
    for _ in range(3):
        await asyncio.sleep(0)  # it waits, or dials
    closed = asyncio.ensure_future(channel.close(PATIENCE))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not closed.done()
    with pytest.raises(grpc.aio.UsageError):  # nothing new begins meanwhile
        await GreeterStub(channel).SayHello(request())
    await asyncio.get_running_loop().run_in_executor(None, listen)
    answer = await call
    await closed
    return answer


@pytest.mark.parametrize("kind", ["unary", "client_stream"])
def test_a_call_that_waits_for_its_connection_ends_well_within_the_grace(make, reserved, kind):
    world = World("sync", server="grpcio")
    module = rpc.aio if make == "ours" else grpc.aio

    async def main():
        channel = module.insecure_channel(f"127.0.0.1:{reserved}", options=AT_ONCE)
        method = getattr(GreeterStub(channel), KINDS[kind])
        asked = iter([request("Ann")]) if kind in STREAMS_REQUESTS else request("Ann")
        call = method(asked, timeout=PATIENCE, wait_for_ready=True)
        return await closing(channel, call, lambda: world.serve(polite, address=f"127.0.0.1:{reserved}"))

    try:
        assert asyncio.run(main()).message == "Hello, Ann!"
    finally:
        world.close()


def test_the_grace_is_an_end_to_waiting(make, reserved):
    module = rpc.aio if make == "ours" else grpc.aio

    async def main():
        channel = module.insecure_channel(f"127.0.0.1:{reserved}")
        call = GreeterStub(channel).SayHello(request(), timeout=PATIENCE, wait_for_ready=True)
        await asyncio.sleep(0)
        await asyncio.wait_for(channel.close(0.2), PATIENCE)
        with pytest.raises(asyncio.CancelledError):
            await call
        return await call.code()

    assert asyncio.run(main()) is grpc.StatusCode.CANCELLED


def test_who_watches_the_state_is_no_call(reserved):
    """A grace is for calls: nobody waits for those who wait for a change of state."""

    async def main():
        channel = rpc.aio.insecure_channel(f"127.0.0.1:{reserved}")
        watching = asyncio.ensure_future(channel.wait_for_state_change(grpc.ChannelConnectivity.IDLE))
        await asyncio.sleep(0)
        await asyncio.wait_for(channel.close(3600), PATIENCE)
        await asyncio.wait_for(watching, PATIENCE)

    asyncio.run(main())


# ---- a server that has just stopped


@pytest.mark.parametrize(
    ("kind", "server"),
    # No control: a server of grpc.aio cancels such calls now and then, and clients of grpcio fail where a write does.
    [("sync", "ours"), ("sync", "grpcio"), ("aio", "ours")],
)
def test_a_call_that_may_wait_outlives_the_server_that_stops(kind, server):
    """It is made in the moment after `stop`, when the connection still looks well, and answered by the next server."""
    for _ in range(10):
        world = World(kind, server=server)
        try:
            first, port = world.start_server(polite)
            caller = world.connect(f"127.0.0.1:{port}", AT_ONCE)
            assert caller.call("unary", request("Ann")).messages == ["Hello, Ann!"]
            if kind == "aio":
                stopping = asyncio.run_coroutine_threadsafe(first.stop(None), world.loop.loop)
            else:
                first.stop(None)
            waiting = [caller.begin("unary", request(str(i)), wait_for_ready=True) for i in range(5)]
            if kind == "aio":
                stopping.result(PATIENCE)
            world.serve(polite, address=f"127.0.0.1:{port}")
            for call in waiting:
                assert call.code() is grpc.StatusCode.OK, call.details()
        finally:
            world.close()
