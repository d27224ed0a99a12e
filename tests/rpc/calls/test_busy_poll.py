"""`proxyless.busy_poll_us`: threads that wait burn their core for so long when told to, and else for a moment only."""

from __future__ import annotations

import threading
import time
from concurrent import futures

import pytest

import rpc
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from rpc.options import ChannelOptions, ServerOptions
from tests.rpc.script import PATIENCE, READ, SyncServicer, greet, polite, request

LONG = [("proxyless.busy_poll_us", int(PATIENCE * 2e6))]
BURNT = 0.05  # seconds of a core's time: nobody who sleeps needs them, whoever looks has them soon
LOOK = 0.3


def burnt_by(thread):
    """How much of a core's time the thread takes while nothing happens: until BURNT is clear, or for a while."""
    clock = time.pthread_getcpuclockid(thread.ident)
    begun, end = time.clock_gettime(clock), time.monotonic() + LOOK
    while time.monotonic() < end and time.clock_gettime(clock) - begun < BURNT:
        time.sleep(0.01)
    return time.clock_gettime(clock) - begun


def waits_for_burning(thread):
    clock = time.pthread_getcpuclockid(thread.ident)
    begun, end = time.clock_gettime(clock), time.monotonic() + PATIENCE
    while time.clock_gettime(clock) - begun < BURNT:
        assert time.monotonic() < end, "it sleeps"
        time.sleep(0.01)


@pytest.fixture
def serve(sync_world):
    servers = []

    def start(options=None, pool=None, script=polite):
        server = rpc.server(pool, options=options)
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(SyncServicer(script), server)
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}", server._thread

    yield start
    for server in servers:
        assert server.stop(0).wait(PATIENCE)


def test_a_server_that_waits_looks_for_calls(serve, sync_world):
    address, serving = serve(LONG)
    client = sync_world.connect(address)
    waits_for_burning(serving)
    for name in ("Ann", "Ben"):
        assert client.call("unary", request(name)).messages == [f"Hello, {name}!"]
        waits_for_burning(serving)


def test_one_thread_of_a_server_looks_at_a_time(serve, sync_world):
    pool = futures.ThreadPoolExecutor(4)
    address, serving = serve(LONG, pool)
    client = sync_world.connect(address)
    waits_for_burning(serving)
    for n in range(50):
        assert client.call("bidi", request(str(n))).messages == [f"Hello, {n}!"]
    looking = [thread for thread in [serving, *pool._threads] if burnt_by(thread) >= BURNT]
    assert len(looking) <= 1


def test_a_caller_that_waits_looks_for_its_answer(serve, sync_world):
    caller = threading.current_thread()

    def script():
        asked = yield READ
        if asked.name == "slow":
            waits_for_burning(caller)
        yield greet(asked)

    address, _ = serve(pool=futures.ThreadPoolExecutor(2), script=script)
    client = sync_world.connect(address, options=LONG)
    for name in ("quick", "slow"):
        reply = client.call("unary", request(name))
        assert (reply.code.name, reply.messages) == ("OK", [f"Hello, {name}!"])


def test_a_deadline_ends_the_looking(serve, sync_world):
    go_on = threading.Event()

    def script():
        yield READ
        yield lambda _: go_on.wait(PATIENCE)

    address, _ = serve(pool=futures.ThreadPoolExecutor(2), script=script)
    client = sync_world.connect(address, options=LONG)
    assert client.call("unary", request("Ann"), timeout=0.2).code.name == "DEADLINE_EXCEEDED"
    go_on.set()


def test_by_default_who_waits_sleeps(serve, sync_world):
    caller, burnt = threading.current_thread(), []

    def script():
        asked = yield READ
        burnt.append(burnt_by(caller))
        yield greet(asked)

    address, serving = serve(pool=futures.ThreadPoolExecutor(2), script=script)
    assert sync_world.connect(address).call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert burnt_by(serving) < BURNT
    assert burnt[0] < BURNT


def test_nothing_asked_is_not_the_same_as_none_and_less_than_none_is_refused():
    assert ChannelOptions.parse(None).busy_poll is ServerOptions.parse(None).busy_poll is None
    assert ChannelOptions.parse([("proxyless.busy_poll_us", 0)]).busy_poll == 0
    assert ServerOptions.parse([("proxyless.busy_poll_us", 50)]).busy_poll == 50e-6
    for make in (lambda options: rpc.insecure_channel("localhost:1", options), lambda o: rpc.server(None, options=o)):
        with pytest.raises(ValueError, match=r"proxyless\.busy_poll_us is a number of microseconds"):
            make([("proxyless.busy_poll_us", -1)])
