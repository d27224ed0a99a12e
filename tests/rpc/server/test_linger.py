"""Pool threads that linger for the next call: they answer in place, and keep nobody else waiting."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from concurrent import futures

import grpc
import pytest

import rpc
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from rpc._native import Reactor
from rpc.blocking import linger
from rpc.blocking.linger import Linger
from tests.rpc import frames
from tests.rpc.frames import DATA, END_STREAM, frame, message
from tests.rpc.script import PATIENCE, READ, SyncServicer, greet, polite, request
from tests.rpc.tls.ends import until

HELLO = HelloRequest(name="Ann").SerializeToString()


class CountingQueue:
    """Counts what a pool is given."""

    def __init__(self, queue):
        self._queue, self.put_in = queue, 0

    def put(self, item):
        self.put_in += item is not None
        self._queue.put(item)

    def __getattr__(self, name):
        return getattr(self._queue, name)


@pytest.fixture
def long_moment(monkeypatch):
    """Whoever lingers does so until something comes."""
    monkeypatch.setattr(linger, "_MOMENT", PATIENCE * 2)


@pytest.fixture
def serve(sync_world):
    """Start a server on a given pool; a client of it."""
    servers = []

    def start(script, pool, **how):
        server = rpc.server(pool, **how)
        port = server.add_insecure_port("127.0.0.1:0")
        add_GreeterServicer_to_server(SyncServicer(script), server)
        server.start()
        servers.append((server, pool))
        return server, f"127.0.0.1:{port}", sync_world.connect(f"127.0.0.1:{port}")

    yield start
    for server, pool in servers:
        server.stop(0).wait(PATIENCE)
        server._reactor.wake()  # a thread that lingers for a long moment
        if pool is not None:
            pool.shutdown(wait=False)


@pytest.mark.usefixtures("long_moment")
def test_calls_one_after_the_other_do_not_go_through_the_pool(serve):
    pool = futures.ThreadPoolExecutor(4)
    pool._work_queue = queue = CountingQueue(pool._work_queue)
    _, _, client = serve(polite, pool)
    for n in range(100):
        assert client.call("unary", request(str(n))).messages == [f"Hello, {n}!"]
        assert client.call("bidi", request(str(n)), request("x")).messages == [f"Hello, {n}!", "Hello, x!"]
    assert queue.put_in < 150


@pytest.mark.usefixtures("long_moment")
@pytest.mark.parametrize("threads", [2, 8])
def test_a_handler_that_blocks_where_it_lingered_stops_nobody(serve, threads):
    go_on, arrived = threading.Event(), threading.Event()

    def script():
        asked = yield READ
        if asked.name == "slow":
            arrived.set()
            yield lambda _: go_on.wait(PATIENCE)
        yield greet(asked)

    pool = futures.ThreadPoolExecutor(threads)
    _, _, client = serve(script, pool)
    with futures.ThreadPoolExecutor(1) as other:
        for n in range(20):  # by now somebody lingers
            assert client.call("unary", request(str(n))).messages == [f"Hello, {n}!"]
        slow = other.submit(client.call, "unary", request("slow"))
        assert arrived.wait(PATIENCE)
        for n in range(20):
            assert client.call("unary", request(str(n)), timeout=PATIENCE).messages == [f"Hello, {n}!"]
        assert not slow.done()
        go_on.set()
        assert slow.result(PATIENCE).messages == ["Hello, slow!"]


def test_a_pool_of_one_serves_connections_and_its_owner_by_turns(serve):
    pool = futures.ThreadPoolExecutor(1)
    _, _, client = serve(polite, pool)
    stop, answered = threading.Event(), []

    def load():
        while not stop.is_set():
            answered.append(client.call("unary", request("Ann")).messages)

    with futures.ThreadPoolExecutor(2) as others:
        loads = [others.submit(load) for _ in range(2)]
        until(lambda: len(answered) > 10)
        for n in range(50):
            assert pool.submit(lambda n=n: n).result(PATIENCE) == n
        stop.set()
        for done in loads:
            done.result(PATIENCE)
    assert all(messages == ["Hello, Ann!"] for messages in answered)


@pytest.mark.usefixtures("long_moment")
def test_nobody_lingers_while_work_waits_in_the_pool():
    go_on = threading.Event()
    with futures.ThreadPoolExecutor(1) as pool:
        pool.submit(go_on.wait, PATIENCE)
        waiting = pool.submit(int)
        assert Linger(pool).calls(Reactor(), alone=True) == []
        go_on.set()
        waiting.result(PATIENCE)


@pytest.mark.usefixtures("long_moment")
def test_who_lingers_goes_back_when_no_other_thread_is_left():
    pool, reactor = futures.ThreadPoolExecutor(2), Reactor()
    lingering = Linger(pool)
    go_on, arrived = threading.Event(), threading.Event()
    waits = pool.submit(lingering.calls, reactor, alone=True)
    until(lingering._place.locked)
    assert lingering.others_free(1)  # there is no second thread yet, but there may be
    assert not lingering.others_free(2)
    pool.submit(lambda: (arrived.set(), go_on.wait(PATIENCE)))
    assert arrived.wait(PATIENCE)
    assert not lingering.others_free(1)
    assert not waits.done()
    lingering.call_back(reactor)
    assert waits.result(PATIENCE) == []
    go_on.set()
    pool.shutdown()


@pytest.mark.usefixtures("long_moment")
def test_one_thread_lingers_at_a_time():
    pool, reactor = futures.ThreadPoolExecutor(2), Reactor()
    lingering = Linger(pool)
    waits = pool.submit(lingering.calls, reactor, alone=True)
    until(lingering._place.locked)
    assert lingering.calls(reactor, alone=True) == []
    reactor.wake()
    assert waits.result(PATIENCE) == []
    pool.shutdown()


@pytest.mark.usefixtures("long_moment")
def test_threads_of_other_pools_are_left_alone():
    class Elsewhere(futures.Executor):
        pass

    assert Linger(Elsewhere()).calls(Reactor(), alone=True) == []
    assert Linger(None).calls(Reactor(), alone=True) == []


def test_a_pool_that_is_shut_down_ends_while_calls_go_on(serve):
    pool = futures.ThreadPoolExecutor(2)
    _, _, client = serve(polite, pool)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            client.call("unary", request("Ann"))

    loader = threading.Thread(target=load)
    loader.start()
    closer = threading.Thread(target=pool.shutdown)
    closer.start()
    closer.join(PATIENCE)
    assert not closer.is_alive()
    stop.set()
    loader.join(PATIENCE)
    assert client.call("unary", request("Ann")).code.name == "UNAVAILABLE"


def test_a_request_and_the_end_of_its_connection_at_once_leave_nothing_open(serve, dial):
    served = []

    def script():
        served.append((yield READ).name)
        yield greet(request("nobody"))

    server, address, client = serve(script, futures.ThreadPoolExecutor(4))
    assert client.call("unary", request("first")).messages == ["Hello, nobody!"]
    big = HelloRequest(name="Ann", payload=bytes(60_000)).SerializeToString()
    for payload in [HELLO, big] * 50:
        raw = dial(address)
        body = message(payload)
        pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
        last = len(pieces) - 1
        raw.send(
            raw.headers(1, frames.request_headers()),
            *[frame(DATA, 1, piece, END_STREAM if n == last else 0) for n, piece in enumerate(pieces)],
        )
        raw.close()
    until(lambda: len(server.sockets()) == 1)
    assert client.call("unary", request("last")).messages == ["Hello, nobody!"]


def test_the_limit_of_calls_holds_for_those_that_come_in_pieces(serve, dial):
    go_on = threading.Event()

    def script():
        asked = yield READ
        if asked.name == "Ann":
            yield lambda _: go_on.wait(PATIENCE)
        yield greet(asked)

    _, address, _ = serve(script, futures.ThreadPoolExecutor(8), maximum_concurrent_rpcs=1)
    raw = dial(address)
    for stream in (1, 3, 5):
        raw.send(raw.headers(stream, frames.request_headers()), frame(DATA, stream, message(HELLO)))
    for stream in (1, 3, 5):
        raw.send(frame(DATA, stream, b"", END_STREAM))
    refused = [raw.answer(stream)["grpc-status"] for stream in (3, 5)]
    go_on.set()
    assert refused == ["8", "8"]
    assert raw.answer(1)["grpc-status"] == "0"


def test_calls_with_other_calls_between_them_are_not_lingered_for():
    """By turns on two servers that share one thread: each call would wait for the end of the other's moment."""
    pool, reactor, looked = futures.ThreadPoolExecutor(1), Reactor(), []

    class Counting:
        def linger(self, moment, alone):
            looked.append(moment)
            return []

    lingering = Linger(pool)
    for _ in range(1000):
        assert lingering.calls(Counting(), alone=True) == []
    assert 4 < len(looked) < 20
    pool.shutdown()
    reactor.close("")


class Full(futures.ThreadPoolExecutor):
    """A bounded pool, as people make them."""

    full = False

    def submit(self, *args, **kwargs):
        if self.full:
            raise queue.Full
        return super().submit(*args, **kwargs)


class _UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError


def test_a_pool_that_takes_no_call_fails_that_call_alone(serve):
    pool = Full(2)
    server, _, client = serve(polite, pool)
    for full in (False, True, True, False):
        pool.full = full
        reply = client.call("unary", request("Ann"), timeout=PATIENCE)
        assert reply.code.name == ("UNKNOWN" if full else "OK")
    until(lambda: server._intake.running == 0)


def test_a_handler_that_fails_in_every_way_leaves_a_server_without_a_pool_serving(serve):
    def script():
        asked = yield READ
        if asked.name == "bad":
            raise _UnspeakableError
        yield greet(asked)

    _, _, client = serve(script, None)
    for name in ("bad", "Ann", "bad", "Ben"):
        assert client.call("unary", request(name), timeout=PATIENCE).code.name == ("UNKNOWN" if name == "bad" else "OK")


def test_what_a_handler_sets_in_its_context_is_not_the_next_ones(serve):
    user, seen = contextvars.ContextVar("user", default=None), []

    def script():
        asked = yield READ
        seen.append(user.get())
        user.set(asked.name)
        yield greet(asked)

    for pool in (futures.ThreadPoolExecutor(1), None):
        _, _, client = serve(script, pool)
        for n in range(20):
            assert client.call("unary", request(str(n))).messages == [f"Hello, {n}!"]
    assert seen == [None] * 40


def test_interceptors_are_asked_by_one_thread_at_a_time(serve, sync_world):
    inside, together = [], []

    class Asked(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            inside.append(details.method)
            together.append(len(inside))
            time.sleep(0.0002)
            inside.pop()
            return continuation(details)

    _, address, _ = serve(polite, futures.ThreadPoolExecutor(8), interceptors=[Asked()])

    def load(n):
        client = sync_world.connect(address)
        return [client.call("unary", request(f"{n}/{i}")).messages for i in range(50)]

    with futures.ThreadPoolExecutor(6) as callers:
        for n, answers in enumerate(callers.map(load, range(6))):
            assert answers == [[f"Hello, {n}/{i}!"] for i in range(50)]
    assert set(together) == {1}


@pytest.mark.usefixtures("long_moment")
def test_an_interceptor_that_exits_fails_that_call_alone(serve):
    class Exits(grpc.ServerInterceptor):
        exits = False

        def intercept_service(self, continuation, details):
            if Exits.exits:
                raise SystemExit
            return continuation(details)

    server, _, client = serve(polite, futures.ThreadPoolExecutor(4), interceptors=[Exits()])
    for exits in (False, True, False, True, True, False):
        Exits.exits = exits
        assert client.call("unary", request("Ann"), timeout=PATIENCE).code.name == ("UNKNOWN" if exits else "OK")
    until(lambda: server._intake.running == 0)
