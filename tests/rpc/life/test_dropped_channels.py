"""Channels that nobody closes, and channels and calls that are kept after their end: none keeps a descriptor."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import threading
import weakref
from pathlib import Path

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.programs import PROLOGUE, ended, python
from tests.rpc.script import PATIENCE, READ, greet, polite, request
from tests.rpc.tls.ends import until
from xds_client import Bootstrap, PilotExchanger

CHANNELS = 40
SPARE = 10  # descriptors that come and go meanwhile: of the loop, of threads, of the test's own making


@pytest.fixture
def no_collection():
    """What ends here ends because nobody holds it, and waits for no collector of cycles."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


class In:
    """One way to use a channel for both worlds."""

    def __init__(self, world):
        self._world = world
        self.aio = world.kind == "aio"

    def run(self, coroutine):
        return self._world.loop.run(coroutine)

    def channel(self, address, options=None, **how):
        if not self.aio:
            return rpc.insecure_channel(address, options, **how)

        async def make():
            return rpc.aio.insecure_channel(address, options, **how)

        return self.run(make())

    def greeted(self, stub, name):
        if not self.aio:
            return stub.SayHello(request(name), timeout=PATIENCE).message

        async def call():
            return (await stub.SayHello(request(name), timeout=PATIENCE)).message

        return self.run(call())

    def begin(self, channel, name):
        """A unary call and a stream of one reply, under way."""
        stub = GreeterStub(channel)
        if not self.aio:
            return stub.SayHello.future(request(name)), stub.ListHellos(request(name))

        async def call():
            return stub.SayHello(request(name)), stub.ListHellos(request(name))

        return self.run(call())

    def results(self, unary, stream):
        if not self.aio:
            return [unary.result(PATIENCE).message, *(reply.message for reply in stream)]

        async def both():
            return [(await unary).message, *[reply.message async for reply in stream]]

        return self.run(both())

    def close(self, channel):
        if self.aio:
            self.run(channel.close())
        else:
            channel.close()


@pytest.fixture
def within(our_world):
    return In(our_world)


# ---- dropped


def test_a_channel_that_is_dropped_ends_at_once_with_all_that_it_had(our_world, within, no_collection):
    address = our_world.serve(polite)
    before = descriptors()
    for _ in range(CHANNELS):
        assert within.greeted(GreeterStub(within.channel(address)), "Ann") == "Hello, Ann!"
    until(lambda: descriptors() <= before + SPARE, "channels that nobody holds have descriptors")


def test_a_stub_keeps_the_channel_that_it_was_made_of(our_world, within):
    stub = GreeterStub(within.channel(our_world.serve(polite)))
    assert within.greeted(stub, "Ann") == "Hello, Ann!"
    gc.collect()
    assert within.greeted(stub, "Bob") == "Hello, Bob!"


def test_calls_in_flight_on_a_channel_that_is_dropped_finish(our_world, within):
    arrived, leave = threading.Semaphore(0), threading.Event()

    def answer_later():
        asked = yield READ
        arrived.release()
        if within.aio:
            yield lambda context: asyncio.to_thread(leave.wait, PATIENCE)
        else:
            yield lambda context: leave.wait(PATIENCE)
        yield greet(asked)

    address = our_world.serve(answer_later)
    calls = within.begin(within.channel(address), "Ann")
    assert all(arrived.acquire(timeout=PATIENCE) for _ in calls)
    gc.collect()
    both_ends = 2
    without = descriptors() - both_ends
    leave.set()
    assert within.results(*calls) == ["Hello, Ann!"] * 2
    del calls
    gc.collect()
    until(lambda: descriptors() <= without, "the connection outlives the last call")


def test_a_dropped_channel_that_was_told_to_connect_gives_up(our_world, within):
    with_nobody_there = "127.0.0.1:1"
    channel = within.channel(with_nobody_there)
    core = weakref.ref(channel._driver.core)
    if within.aio:

        async def connect(channel):
            channel.get_state(try_to_connect=True)

        within.run(connect(channel))
    else:
        failed = threading.Event()

        def note(state):
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                failed.set()

        channel.subscribe(note, try_to_connect=True)
        assert failed.wait(PATIENCE)
    until(lambda: all(connection.error for connection in core().subchannels))
    del channel

    def gone():
        gc.collect()
        return core() is None

    until(gone, "it goes on dialling for nobody")


def test_a_dropped_channel_to_the_mesh_is_observed_and_built_no_more(our_world, within, mesh, no_collection):
    environment = {**os.environ, **mesh.environment}
    with PilotExchanger(Bootstrap.load(environment)) as exchanger:
        channel = within.channel("xds:///reviews.demo:9080", mesh=exchanger)
        assert within.greeted(GreeterStub(channel), "x") == "Hello, one!"
        before = descriptors()
        core = weakref.ref(channel._driver.core)
        assert exchanger._observers.keys()
        del channel
        until(lambda: core() is None, "the exchanger keeps the channel")
        until(lambda: not exchanger._observers.keys(), "its target is still asked for")
        until(lambda: descriptors() < before, "the connection has stayed")


# ---- kept


def test_a_closed_channel_and_its_ended_calls_keep_no_descriptor_though_they_are_kept(our_world, within):
    address = our_world.serve(polite)
    before = descriptors()
    kept = []
    for _ in range(CHANNELS):
        channel = within.channel(address)
        calls = within.begin(channel, "Ann")
        assert within.results(*calls) == ["Hello, Ann!"] * 2
        within.close(channel)
        kept.append((channel, calls))
    until(lambda: descriptors() <= before + SPARE, "what is closed and kept has descriptors")


def test_an_idle_channel_keeps_no_descriptor_though_it_is_kept(our_world, within):
    address = our_world.serve(polite)
    before = descriptors()
    kept = []
    for _ in range(CHANNELS):
        channel = within.channel(address, [("grpc.client_idle_timeout_ms", 1000)])
        calls = within.begin(channel, "Ann")
        assert within.results(*calls) == ["Hello, Ann!"] * 2
        kept.append((channel, calls))
    until(lambda: descriptors() <= before + SPARE, "what is idle has descriptors")
    assert within.greeted(GreeterStub(kept[0][0]), "Bob") == "Hello, Bob!"


def test_a_connection_of_threads_is_one_descriptor(elsewhere):
    address, _ = elsewhere
    before = descriptors()
    kept = [rpc.insecure_channel(address) for _ in range(CHANNELS)]
    for channel in kept:
        assert list(zip("a", GreeterStub(channel).ListHellos(request("quick")), strict=True))
    assert descriptors() <= before + CHANNELS + SPARE


# Three streams on connections of their own, each read in a thread, where no descriptor is to be had any more.
WITHOUT_DESCRIPTORS = (
    PROLOGUE
    + """
    import os, resource, grpc

    def read(call):
        try:
            list(call)
        except grpc.RpcError as error:
            print(error.code().name, flush=True)

    calls = [GreeterStub(rpc.insecure_channel(sys.argv[1])).ListHellos(HelloRequest(name="mute")) for _ in range(3)]
    sys.stdin.readline()
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, used - 1))
    readers = [threading.Thread(target=read, args=[call]) for call in calls]
    for reader in readers:
        reader.start()
    for call, reader in zip(calls, readers):
        reader.join(0.2)  # it waits by then
        call.cancel()
        reader.join(20)
        assert not reader.is_alive(), "the reader was not told"
"""
)


def test_who_waits_is_told_by_another_thread_though_no_descriptor_is_to_be_had(elsewhere):
    address, next_call = elsewhere
    with python(WITHOUT_DESCRIPTORS, address, stdin=subprocess.PIPE) as process:
        for _ in range(3):
            assert next_call().strip() == "arrived"
        process.stdin.write("\n")
        process.stdin.flush()
        assert ended(process) == (0, ["CANCELLED"] * 3, "")
