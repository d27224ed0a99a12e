"""What a channel says of its state, on every pairing: subscriptions in threads, waiting in asyncio."""

from __future__ import annotations

import asyncio
import queue

import grpc
import grpc.aio
import pytest

from tests.rpc.parity.test_sizes_parity import free_port
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE, polite, request

State = grpc.ChannelConnectivity
PAIRS = [("grpcio", "grpcio"), ("ours", "grpcio"), ("ours", "ours")]


@pytest.fixture(params=PAIRS, ids="-".join)
def threads(request):
    world = World("sync", *request.param)
    yield world
    world.close()


@pytest.fixture(params=PAIRS, ids="-".join)
def tasks(request):
    world = World("aio", *request.param)
    yield world
    world.close()


class Seen:
    """The states that a subscription was told."""

    def __init__(self):
        self._told = queue.SimpleQueue()

    def __call__(self, state):
        self._told.put(state)

    def until(self, wanted):
        states = []
        while not states or states[-1] is not wanted:
            states.append(self._told.get(timeout=PATIENCE))
        return states


# ---- threads


def test_a_subscriber_is_told_the_state_and_what_follows(threads):
    channel = threads.connect(threads.serve(polite)).channel
    seen = Seen()
    channel.subscribe(seen, try_to_connect=True)
    told = seen.until(State.READY)
    assert told[0] in {State.IDLE, State.CONNECTING}
    assert set(told) <= {State.IDLE, State.CONNECTING, State.READY}
    channel.unsubscribe(seen)


def test_a_subscription_alone_does_not_connect(threads):
    client = threads.connect(threads.serve(polite))
    seen = Seen()
    client.channel.subscribe(seen)
    assert seen.until(State.IDLE) == [State.IDLE]
    assert client.call("unary", request()).code.name == "OK"
    assert State.READY in seen.until(State.READY)
    client.channel.unsubscribe(seen)


def test_nobody_there_is_a_transient_failure_and_later_ready(threads):
    port = free_port()
    channel = threads.connect(f"127.0.0.1:{port}").channel
    seen = Seen()
    channel.subscribe(seen, try_to_connect=True)
    assert seen.until(State.TRANSIENT_FAILURE)
    threads.serve(polite, address=f"127.0.0.1:{port}")
    assert seen.until(State.READY)
    channel.unsubscribe(seen)


def test_a_server_that_goes_away_is_told(threads):
    server, port = threads.start_server(polite)
    channel = threads.connect(f"127.0.0.1:{port}").channel
    seen = Seen()
    channel.subscribe(seen, try_to_connect=True)
    seen.until(State.READY)
    threads.stop(server)
    after = seen._told.get(timeout=PATIENCE)
    assert after in {State.IDLE, State.CONNECTING, State.TRANSIENT_FAILURE}
    channel.unsubscribe(seen)


def test_two_subscribers_and_one_leaves(threads):
    channel = threads.connect(threads.serve(polite)).channel
    first, second = Seen(), Seen()
    channel.subscribe(first)
    channel.subscribe(second)
    first.until(State.IDLE)
    second.until(State.IDLE)
    channel.unsubscribe(first)
    third = Seen()
    channel.subscribe(third, try_to_connect=True)
    assert second.until(State.READY)
    assert third.until(State.READY)
    assert first._told.empty()


def test_a_subscriber_that_raises_harms_nobody(threads, caplog):
    channel = threads.connect(threads.serve(polite)).channel

    def broken(state):
        raise ValueError(state)

    seen = Seen()
    channel.subscribe(broken)
    channel.subscribe(seen, try_to_connect=True)
    assert seen.until(State.READY)


def test_the_ready_future_comes_true(threads):
    channel = threads.connect(threads.serve(polite)).channel
    future = grpc.channel_ready_future(channel)
    assert future.result(timeout=PATIENCE) is None
    assert future.done()


def test_the_ready_future_times_out_and_is_cancelled(threads):
    channel = threads.connect(f"127.0.0.1:{free_port()}").channel
    future = grpc.channel_ready_future(channel)
    with pytest.raises(grpc.FutureTimeoutError):
        future.result(timeout=0.2)
    assert future.cancel()
    assert future.cancelled()


# ---- asyncio


def test_asking_to_connect_makes_a_channel_ready(tasks):
    channel = tasks.connect(tasks.serve(polite)).channel

    async def watch():
        states = [channel.get_state()]
        assert states == [State.IDLE]
        channel.get_state(try_to_connect=True)
        while states[-1] is not State.READY:
            await channel.wait_for_state_change(states[-1])
            states.append(channel.get_state())
        return states

    assert set(tasks.loop.run(watch())) <= {State.IDLE, State.CONNECTING, State.READY}


def test_channel_ready_waits_for_the_server(tasks):
    port = free_port()
    channel = tasks.connect(f"127.0.0.1:{port}").channel

    async def until_it_fails():
        state = channel.get_state(try_to_connect=True)
        while state is not State.TRANSIENT_FAILURE:
            await channel.wait_for_state_change(state)
            state = channel.get_state(try_to_connect=True)

    tasks.loop.run(until_it_fails())
    tasks.serve(polite, address=f"127.0.0.1:{port}")
    tasks.loop.run(channel.channel_ready())
    assert tasks.loop.run(_state(channel)) is State.READY


def test_a_closed_channel_is_shut_down(tasks):
    channel = tasks.connect(tasks.serve(polite)).channel

    async def close():
        await channel.channel_ready()
        waiting = tasks.loop.loop.create_task(channel.wait_for_state_change(State.READY))
        await channel.close()
        return channel.get_state(), waiting

    state, waiting = tasks.loop.run(close())
    assert state is State.SHUTDOWN
    tasks.loop.run(_settled(waiting))


def test_a_ready_channel_notices_that_its_server_left(tasks):
    server, port = tasks.start_server(polite)
    channel = tasks.connect(f"127.0.0.1:{port}").channel
    tasks.loop.run(channel.channel_ready())
    waiting = tasks.loop.run(_start(channel.wait_for_state_change(State.READY)))
    tasks.stop(server)
    tasks.loop.run(_settled(waiting))
    assert tasks.loop.run(_state(channel)) is not State.READY


async def _state(channel):
    return channel.get_state()


async def _start(coroutine):
    return asyncio.ensure_future(coroutine)


async def _settled(task):
    await asyncio.wait([task], timeout=PATIENCE)
    assert task.done()
    task.cancelled() or task.exception()
