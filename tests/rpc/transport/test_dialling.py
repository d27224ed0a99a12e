"""Names with several addresses: the first that connects is taken, and one time-out holds for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rpc.transport import SubchannelKey, sockets
from tests.rpc.script import PATIENCE, polite, request
from tests.rpc.tls.ends import open_files, until

KEY = SubchannelKey("many.test", 80)
BUDGET = 1.0


@pytest.fixture
def mute():
    """An address that never answers: its queue of connections is full."""
    with contextlib.ExitStack() as open_sockets:
        listener = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        for _ in range(2):  # the queue holds one more than it says
            sock = open_sockets.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(address)
        yield address


@pytest.fixture
def refusing():
    """An address where nobody listens, and nobody will meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.fixture
def resolve(monkeypatch):
    """Make the test's name these addresses."""
    looked_up = socket.getaddrinfo

    def to(*addresses):
        def getaddrinfo(host, *args, flags=0, **how):
            if host != KEY.address:
                return looked_up(host, *args, flags=flags, **how)
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no IP address")
            return [
                (socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return to


@pytest.fixture(params=["sync", "aio"])
def connect(request):
    """Connect to the name; returns the peer's address."""

    async def in_loop():
        return await sockets.connect_in_loop(KEY, None, asyncio.get_running_loop().time() + BUDGET)

    def in_thread():
        return sockets.connect(KEY, None, time.monotonic() + BUDGET)

    def connect():
        with socket.socket(fileno=asyncio.run(in_loop()) if request.param == "aio" else in_thread()) as sock:
            return sock.getpeername()

    return connect


def test_an_address_that_does_not_answer_does_not_keep_the_next_waiting(connect, resolve, mute, listening):
    resolve(mute, mute, listening)
    began = time.monotonic()
    assert connect() == listening
    assert time.monotonic() - began >= sockets.ATTEMPT_DELAY, "the first ones had their chance"


def test_after_one_that_refuses_the_next_is_tried_at_once(connect, resolve, refusing, listening, monkeypatch):
    monkeypatch.setattr(sockets, "ATTEMPT_DELAY", 600.0)
    resolve(refusing, refusing, listening)
    assert connect() == listening


def test_one_time_out_holds_for_all_addresses_together(connect, resolve, mute):
    resolve(*[mute] * 20)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect()
    assert time.monotonic() - began < BUDGET * 10  # of twenty


def test_when_all_refuse_the_reason_is_told(connect, resolve, refusing):
    resolve(refusing, refusing)
    with pytest.raises(ConnectionRefusedError):
        connect()


def test_a_name_without_an_address_is_told(connect, resolve):
    resolve()
    with pytest.raises(OSError, match="no address"):
        connect()


def test_who_came_too_late_is_closed(connect, resolve, mute, refusing, listening):
    resolve(mute, refusing, listening, listening)
    connect()
    gc.collect()
    before = open_files()
    for _ in range(3):
        connect()
    until(lambda: open_files() <= before)


def test_families_take_turns():
    one, two, three = ((socket.AF_INET6, 0, 0, "", n) for n in range(3))
    four = (socket.AF_INET, 0, 0, "", 4)
    assert sockets._by_turns([one, two, three, four]) == [one, four, two, three]
    assert sockets._by_turns([four, one, two]) == [four, one, two]
    assert sockets._by_turns([]) == []


def test_a_channel_finds_the_address_that_answers(our_world, resolve, mute, refusing):
    host, port = our_world.serve(polite).rsplit(":", 1)
    resolve(mute, refusing, (host, int(port)))
    assert our_world.connect(f"{KEY}").call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_an_ip_address_needs_no_thread_of_the_loop(listening):
    """The few that it has may all be busy, with handlers that wait for the very call."""
    go = threading.Event()

    async def connect():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = loop.run_in_executor(None, go.wait, PATIENCE)
        try:
            os.close(await sockets.connect_in_loop(SubchannelKey(*listening), None, loop.time() + PATIENCE / 2))
        finally:
            go.set()
            await waiting

    asyncio.run(connect())
