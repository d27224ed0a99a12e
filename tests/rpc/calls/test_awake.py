"""A loop that has sent something stays awake for a moment, while that pays; or for as long as it is asked to."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
import uvloop

import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from rpc.aio import awake
from rpc.aio.awake import Awake
from tests.rpc.script import PATIENCE, greet, request

TURN = 10e-6  # seconds that a turn of the loop takes


class Loop:
    """A loop, and its clock."""

    def __init__(self):
        self.now = 0.0
        self._ready = deque()

    def call_soon(self, callback, *args):
        self._ready.append((callback, args))

    def monotonic(self):
        return self.now

    def turns(self, most=1000):
        """Turns until there is nothing to do; how many that were."""
        for turn in range(most):
            if not self._ready:
                return turn
            self.now += TURN
            callback, args = self._ready.popleft()
            callback(*args)
        return most


@pytest.fixture
def loop(monkeypatch):
    made = Loop()
    monkeypatch.setattr(awake, "time", made)
    return made


def test_it_stays_awake_for_a_moment(loop):
    Awake(None).sent(loop)
    assert 5 < loop.turns() < 11


def test_what_arrives_ends_the_moment(loop):
    one = Awake(None)
    for _ in range(10):
        one.sent(loop)
        assert loop.turns(2) == 2
        one.arrived()
        assert loop.turns() == 1


def test_several_that_leave_make_one_moment(loop):
    one = Awake(None)
    one.sent(loop)
    one.sent(loop)
    assert loop.turns() < 11


def test_moments_in_vain_become_rare_and_one_that_pays_makes_them_usual_again(loop):
    one = Awake(None)

    def tried():
        one.sent(loop)
        return loop.turns() > 0

    assert 10 < sum(tried() for _ in range(1000)) < 20
    while True:
        one.sent(loop)
        if loop.turns(1):
            break
    one.arrived()
    loop.turns()
    assert tried()


def test_who_asks_for_it_always_has_it_for_so_long(loop):
    one = Awake(200e-6)
    for _ in range(10):
        one.sent(loop)
        assert 18 < loop.turns() < 23


def test_who_asks_for_none_has_none(loop):
    Awake(0.0).sent(loop)
    assert loop.turns() == 0


@pytest.fixture
def stays(monkeypatch):
    """Wait until a loop was kept awake for a hundred turns from now on."""
    counted = []
    stay = Awake._stay
    monkeypatch.setattr(Awake, "_stay", lambda *args: (counted.append(1), stay(*args)))

    async def a_hundred():
        until = len(counted) + 100
        while len(counted) < until:  # noqa: ASYNC110 - an event would take part in what is counted
            await asyncio.sleep(0.001)

    return a_hundred


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("asked", ["channel", "server"])
def test_a_loop_that_is_kept_awake_does_its_other_work(factory, asked, stays):
    """Both ends live in it. The channel waits for its answer, the server for the next call."""
    long = {asked: [("proxyless.busy_poll_us", int(2e6 * PATIENCE))]}

    class Greeter(GreeterServicer):
        async def SayHello(self, hello, context):  # noqa: N802 - grpc's name
            if asked == "channel":
                await stays()
            return greet(hello)

    async def both():
        server = rpc.aio.server(options=long.get("server"))
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(Greeter(), server)
        await server.start()
        async with rpc.aio.insecure_channel(f"127.0.0.1:{port}", long.get("channel")) as channel:
            for _ in range(2):
                reply = await GreeterStub(channel).SayHello(request("Ann"), timeout=PATIENCE)
                assert reply.message == "Hello, Ann!"
                if asked == "server":
                    await stays()
        await server.stop(None)

    async def in_time():
        async with asyncio.timeout(PATIENCE):
            await both()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(in_time())
