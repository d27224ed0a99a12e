"""Event loops: several in one process, one after the other, and uvloop."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest
import uvloop

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from tests.rpc.peers import KINDS, World
from tests.rpc.script import PATIENCE, AioServicer, polite, request, stay_until_over
from tests.rpc.tls.ends import until

CALLS = 50
FACTORIES = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def uv_world():
    """Our client and server in a uvloop."""
    world = World("aio", new_loop=uvloop.new_event_loop)
    yield world
    world.close()


async def ask(channel, name, count=CALLS):
    stub = GreeterStub(channel)
    replies = await asyncio.gather(*[stub.SayHello(request(f"{name}/{i}"), timeout=PATIENCE) for i in range(count)])
    return [reply.message for reply in replies] == [f"Hello, {name}/{i}!" for i in range(count)]


async def serve_and_ask(name):
    """A whole life in one loop: server, channel, calls."""
    server = rpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    add_GreeterServicer_to_server(AioServicer(polite), server)
    await server.start()
    async with rpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        right = await ask(channel, name)
    await server.stop(None)
    return right


def run(factory, coroutine):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)


@pytest.mark.parametrize("factory", FACTORIES, ids=["asyncio", "uvloop"])
def test_loops_one_after_the_other_each_have_a_life_of_their_own(factory):
    assert all(run(factory, serve_and_ask(str(i))) for i in range(5))


@pytest.mark.parametrize("factory", FACTORIES, ids=["asyncio", "uvloop"])
def test_loops_beside_each_other_in_threads_do_not_meet(factory):
    right = []
    threads = [threading.Thread(target=lambda i=i: right.append(run(factory, serve_and_ask(str(i))))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert right == [True] * 4


def test_loops_in_threads_call_one_server(aio_world):
    address = aio_world.serve(polite)
    right = []

    async def call(i):
        async with rpc.aio.insecure_channel(address) as channel:
            right.append(await ask(channel, str(i)))

    threads = [threading.Thread(target=lambda i=i: run(FACTORIES[i % 2], call(i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert right == [True] * 4


def test_a_channel_says_that_it_belongs_to_another_loop(aio_world):
    client = aio_world.connect(aio_world.serve(polite))
    assert client.call("unary", request()).code.name == "OK"

    async def elsewhere():
        return client.stub.SayHello(request())

    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        asyncio.run(elsewhere())


@pytest.mark.parametrize("factory", FACTORIES, ids=["asyncio", "uvloop"])
def test_a_channel_outlives_its_loop_and_dials_anew_in_the_next(aio_world, factory):
    channel = rpc.aio.insecure_channel(aio_world.serve(polite))
    for i in range(4):
        assert run(factory, ask(channel, str(i)))
    run(factory, channel.close())


def test_a_channel_made_outside_of_a_loop_lives_in_the_loop_of_its_first_call(aio_world):
    channel = rpc.aio.insecure_channel(aio_world.serve(polite))

    async def call_and_close():
        right = await ask(channel, "Ann")
        await channel.close()
        return right

    assert asyncio.run(call_and_close())


def test_a_channel_that_is_never_closed_is_no_noise_at_the_end_of_its_loop(aio_world):
    address = aio_world.serve(polite)

    async def forget():
        return await ask(rpc.aio.insecure_channel(address), "Ann", 3)

    assert all(asyncio.run(forget()) for _ in range(5))


def test_blocking_and_asyncio_channels_live_beside_each_other(aio_world):
    address = aio_world.serve(polite)
    blocking = GreeterStub(rpc.insecure_channel(address))

    async def both():
        async with rpc.aio.insecure_channel(address) as channel:
            ours = asyncio.to_thread(lambda: [blocking.SayHello(request(str(i))).message for i in range(CALLS)])
            return await asyncio.gather(ask(channel, "Ann"), ours)

    right, messages = asyncio.run(both())
    assert right
    assert messages == [f"Hello, {i}!" for i in range(CALLS)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_call_works_in_uvloop(uv_world, kind):
    answer = uv_world.connect(uv_world.serve(polite)).call(kind, request("Ann", payload=bytes(1 << 20)))
    assert (answer.code.name, answer.messages) == ("OK", ["Hello, Ann!"])


def test_a_thousand_messages_go_each_way_in_uvloop(uv_world):
    names = [str(i) for i in range(1000)]
    answer = uv_world.connect(uv_world.serve(polite)).call("bidi", *map(request, names))
    assert answer.messages == [f"Hello, {name}!" for name in names]


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_calls_end_early_in_uvloop(uv_world, how):
    arrived, over = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    call = uv_world.connect(uv_world.serve(stay)).begin(
        "server_stream", request(), timeout=0.2 if how == "deadline" else None
    )
    assert arrived.wait(PATIENCE)
    if how == "cancel":
        call.cancel()
    assert call.code().name == ("CANCELLED" if how == "cancel" else "DEADLINE_EXCEEDED")
    assert over.wait(PATIENCE)


@pytest.mark.parametrize("factory", FACTORIES)
def test_loops_that_are_over_leave_no_descriptors(factory):
    def once():
        async def run():
            server = rpc.aio.server()
            add_GreeterServicer_to_server(AioServicer(polite), server)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with rpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await GreeterStub(channel).SayHello(request("Ann"), timeout=PATIENCE)
            await server.stop(0)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(run())

    def descriptors():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    once()
    before = descriptors()
    for _ in range(5):
        once()
    # What other tests left may go meanwhile, or take its time to go; five lives' worth must not stay.
    until(lambda: descriptors() < before + 5, "descriptors are left")


def test_a_channel_that_connects_begins_nothing_more_when_its_loop_ends():
    """Whoever ends a loop cancels its tasks once, as `asyncio.run` does."""
    nobody_there = [f"127.0.0.{number}:1" for number in range(1, 201)]  # more than it dials in the turns that it gets
    loop = asyncio.new_event_loop()

    async def begin():
        target = f"ipv4:{','.join(nobody_there)}"
        channel = rpc.aio.insecure_channel(target, [("grpc.lb_policy_name", "round_robin")])
        channel.get_state(try_to_connect=True)
        await asyncio.sleep(0)
        return channel

    channel = loop.run_until_complete(begin())
    tasks = asyncio.all_tasks(loop)
    assert tasks
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    assert not asyncio.all_tasks(loop)
    loop.close()
    del channel
