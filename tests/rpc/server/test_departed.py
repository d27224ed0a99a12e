"""Calls that are over are not run: their clients closed, reset them, or let their deadline pass while they waited for a
thread. They leave nothing behind, and whoever still waits is next.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from rpc.blocking.call_queue import CallQueue
from tests.rpc import frames
from tests.rpc.costs import MIB
from tests.rpc.frames import DATA, END_STREAM, RST_STREAM, RawClient, frame, message
from tests.rpc.peers import KINDS, LoopThread
from tests.rpc.script import PATIENCE, READ, AioServicer, SyncServicer, greet, polite
from tests.rpc.script import request as asked
from tests.rpc.server.slow_server import WORKERS
from tests.rpc.tls.ends import open_files, until

PATHS = {kind: f"/hello.Greeter/{method}" for kind, method in KINDS.items()}
LEAVE = ["close", "reset", "deadline"]


def send_calls(client, count, kind="unary", *, payload=b"", end=True, extra=()):
    body = message(asked("dead", payload=payload).SerializeToString())
    sent = []
    for stream in range(1, 2 * count, 2):
        sent.append(client.headers(stream, frames.request_headers(PATHS[kind], *extra)))
        for at in range(0, len(body), 16_000):
            last = end and at + 16_000 >= len(body)
            sent.append(frame(DATA, stream, body[at : at + 16_000], END_STREAM if last else 0))
    client.send(*sent)


class Gated:
    """A server whose one thread is held by a handler until ``go`` is set; ``begun`` are the names it was asked for."""

    def __init__(self, kind):
        self.pool = futures.ThreadPoolExecutor(1)
        self.go, self.begun = threading.Event(), []
        self.loop = LoopThread() if kind == "aio" else None
        if self.loop is None:
            self.server = rpc.server(self.pool)
            self.port = self._listen()
            self.server.start()
        else:
            self.loop.run(self._start())
        self.address = f"127.0.0.1:{self.port}"
        self.channel = grpc.insecure_channel(self.address)
        self.stub = GreeterStub(self.channel)
        self.held = self.stub.SayHello.future(asked("first"), timeout=PATIENCE)
        until(lambda: self.begun == ["first"])
        self.files = open_files()

    async def _start(self):
        self.server = rpc.aio.server(self.pool)
        self.port = self._listen()
        await self.server.start()

    def _listen(self):
        add_GreeterServicer_to_server(SyncServicer(self.script), self.server)
        return self.server.add_insecure_port("127.0.0.1:0")

    def script(self):
        request = yield READ
        self.begun.append(request.name)
        if request.name == "first":
            yield lambda _: self.go.wait(PATIENCE)
        yield greet(request)

    def waiting(self):
        """Calls that wait or run; of both worlds."""
        return self.server._intake.running

    def close(self):
        self.go.set()
        self.channel.close()
        if self.loop is None:
            self.server.stop(0).wait(PATIENCE)
        else:
            self.loop.run(self.server.stop(0))
            self.loop.close()
        self.pool.shutdown()


@pytest.fixture(params=["sync", "aio"])
def gated(request):
    server = Gated(request.param)
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["unary", "bidi"])
@pytest.mark.parametrize("how", LEAVE)
def test_calls_that_are_over_leave_their_place_at_once(gated, dial, how, kind):
    clients = [dial(gated.address) for _ in range(5)]
    for client in clients:
        send_calls(client, 20, kind, extra=[("grpc-timeout", "2S")] if how == "deadline" else ())
    until(lambda: gated.waiting() == 101, "they were not taken")
    honest = gated.stub.SayHello.future(asked("honest"), timeout=PATIENCE)
    for client in clients:
        if how == "reset":
            client.send(*(frame(RST_STREAM, stream, b"\0\0\0\x08") for stream in range(1, 41, 2)))
        elif how == "close":
            client.close()
    until(lambda: gated.waiting() == 2, "dead calls still wait")
    if how == "close":
        until(lambda: open_files() <= gated.files, "departed connections are still open")
    gated.go.set()
    assert honest.result(PATIENCE).message == "Hello, honest!"
    assert gated.held.result(PATIENCE).message == "Hello, first!"
    assert gated.begun == ["first", "honest"]


def test_no_more_is_in_the_pool_than_calls_have_waited_at_one_time(gated, dial):
    for _ in range(10):
        client = dial(gated.address)
        send_calls(client, 20)
        until(lambda: gated.waiting() == 21, "they were not taken")
        client.close()
        until(lambda: gated.waiting() == 1, "dead calls still wait")
    assert gated.pool._work_queue.qsize() <= 20


def test_a_departed_connection_is_closed_while_its_handler_runs(gated):
    gated.channel.close()
    until(lambda: open_files() <= gated.files - 2, "both ends were to go")
    assert gated.begun == ["first"]
    assert not gated.go.is_set()


def test_requests_that_are_not_whole_go_with_their_client(gated, dial):
    clients = [dial(gated.address) for _ in range(5)]
    for client in clients:
        send_calls(client, 20, end=False)
    tally = gated.server.tally
    until(lambda: tally().started == 101, "they were not taken")
    for client in clients:
        client.close()
    until(lambda: tally().failed == 100, "they are not over")
    until(lambda: open_files() <= gated.files, "departed connections are still open")
    gated.go.set()
    gated.held.result(PATIENCE)
    assert gated.begun == ["first"]


def test_calls_of_a_pool_that_drops_its_work_are_refused():
    server = Gated("sync")
    waiting = [server.stub.SayHello.future(asked("waits"), timeout=PATIENCE) for _ in range(3)]
    until(lambda: server.waiting() == 4)
    server.pool.shutdown(wait=False, cancel_futures=True)
    assert [call.code() for call in waiting] == [grpc.StatusCode.UNAVAILABLE] * 3
    assert server.waiting() == 1
    server.close()


class DeadCall:
    active = False

    def watch(self, callback):
        return False

    def unwatch(self):
        pass


def test_a_call_that_is_over_before_it_is_queued_asks_for_no_turn():
    submitted, left = [], []

    class Job:
        call = DeadCall()

        def left(self):
            left.append(self)

    queue = CallQueue(submitted.append)
    queue.put(Job(), lambda _: None)
    assert queue.take() is None
    assert (submitted, len(left)) == ([], 1)


class Call:
    active = True

    def __init__(self):
        self.finished = []

    def watch(self, callback):
        self.look = callback
        return True

    def unwatch(self):
        pass

    def finish(self, code, details, trailing):
        self.finished.append(code)

    def leave(self):
        self.active = False
        self.look()


class Waiter:
    def __init__(self):
        self.call = Call()

    def left(self):
        pass


@pytest.mark.parametrize("refuses", [1, 2])
def test_who_relied_on_a_turn_that_the_pool_refuses_gets_another_or_is_refused(refuses):
    """The first call leaves while its turn is asked for, and the second finds that one is."""
    first, second = Waiter(), Waiter()
    asked_for, served = [], []

    def work(queue):
        served.append(queue.take())

    def submit(turn):
        asked_for.append(turn)
        if len(asked_for) == 1:
            first.call.leave()
            queue.put(second, work)
        if len(asked_for) <= refuses:
            raise RuntimeError("can't start new thread")

    queue = CallQueue(submit)
    queue.put(first, work)
    for turn in asked_for:
        turn()
    assert len(asked_for) == 2
    assert served == ([second] if refuses == 1 else [])
    assert second.call.finished == ([] if refuses == 1 else [grpc.StatusCode.UNAVAILABLE.value[0]])


class Busy:
    """A server whose handlers, or interceptors, begin on the thread that reads the connections, and take a while there:
    the first until ``go`` is set. ``begun`` are those that have.
    """

    def __init__(self, kind, *, intercepts=False):
        self.go, self.begun = threading.Event(), []
        self.pool = futures.ThreadPoolExecutor(4) if kind == "pool" else None
        self.loop = LoopThread() if kind == "aio" else None
        make, servicer, interceptor = rpc.server, SyncServicer, BusyInterceptor
        if self.loop is not None:
            make, servicer, interceptor = rpc.aio.server, AioServicer, BusyAioInterceptor
        self.server = make(self.pool, interceptors=[interceptor(self.take)] if intercepts else None)
        add_GreeterServicer_to_server(servicer(polite if intercepts else self.script), self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.result(self.server.start())

    def result(self, started):
        return started if self.loop is None else self.loop.run(started)

    def take(self):
        self.begun.append(1)
        if len(self.begun) == 1:
            self.go.wait(PATIENCE)
        time.sleep(0.01)

    def script(self):
        self.take()
        while (asked_for := (yield READ)) is not None:
            yield greet(asked_for)

    def serves_when_all_have_left(self, client):
        until(lambda: self.begun)
        client.close()
        self.go.set()
        with grpc.insecure_channel(self.address) as channel:
            assert GreeterStub(channel).SayHello(asked("honest"), timeout=PATIENCE).message == "Hello, honest!"

    def close(self):
        self.go.set()
        stopped = self.result(self.server.stop(0))
        if self.loop is None:
            stopped.wait(PATIENCE)
        else:
            self.loop.close()
        if self.pool is not None:
            self.pool.shutdown()


class BusyInterceptor(grpc.ServerInterceptor):
    def __init__(self, take):
        self.take = take

    def intercept_service(self, continuation, details):
        self.take()
        return continuation(details)


class BusyAioInterceptor(grpc.aio.ServerInterceptor):
    def __init__(self, take):
        self.take = take

    async def intercept_service(self, continuation, details):
        self.take()
        return await continuation(details)


@pytest.fixture
def busy():
    made = []

    def start(*args, **how):
        made.append(Busy(*args, **how))
        return made[-1]

    yield start
    for server in made:
        server.close()


# Without a pool, streams have one of the server's own.
@pytest.mark.parametrize(
    ("world", "kind"), [("in place", "unary"), ("aio", "unary"), ("aio", "client_stream"), ("aio", "server_stream")]
)
def test_handlers_on_the_reading_thread_do_not_begin_for_who_has_left(busy, dial, world, kind):
    server = busy(world)
    client = dial(server.address)
    send_calls(client, 50, kind, end=kind != "client_stream")
    server.serves_when_all_have_left(client)
    assert len(server.begun) == 2, "the first of 50, and the honest one"


@pytest.mark.parametrize("world", ["in place", "aio"])
def test_requests_that_became_whole_and_were_left_are_not_begun(busy, dial, world):
    server = busy(world)
    client = dial(server.address)
    send_calls(client, 50, end=False)
    until(lambda: server.server.tally().started == 50, "they were not taken")
    client.send(*(frame(DATA, stream, b"", END_STREAM) for stream in range(1, 101, 2)))
    server.serves_when_all_have_left(client)
    assert len(server.begun) == 2, "the first of 50, and the honest one"


@pytest.mark.parametrize("world", ["pool", "in place", "aio"])
def test_interceptors_are_not_asked_about_calls_of_who_has_left(busy, dial, world):
    server = busy(world, intercepts=True)
    client = dial(server.address)
    send_calls(client, 50)
    server.serves_when_all_have_left(client)
    assert len(server.begun) == 2, "the first of 50, and the honest one"


# ---- a server in a process of its own


class Slow:
    def __init__(self, kind, *limit):
        command = [sys.executable, "-m", "tests.rpc.server.slow_server", "ours", kind, *map(str, limit)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{self.process.stdout.readline().strip()}"
        self.channel = grpc.insecure_channel(self.address)
        self.stub = GreeterStub(self.channel)
        for _ in range(50):
            self.serves()
        self.before = self.cost()

    def cost(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def grown(self, what):
        return self.cost()[what] - self.before[what]

    def serves(self):
        assert self.stub.SayHello(HelloRequest(name="quick"), timeout=PATIENCE).message == "Hello, quick!"

    def close(self):
        self.channel.close()
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(params=["sync", "aio"])
def slow(request):
    made = []

    def start(*limit):
        made.append(Slow(request.param, *limit))
        return made[-1]

    yield start
    for server in made:
        server.close()


def leave_calls(address, connections, calls, **what):
    for _ in range(connections):
        client = RawClient(address)
        send_calls(client, calls, **what)
        client.close()


def test_crowds_that_leave_have_few_handlers_run(slow):
    server = slow()
    leave_calls(server.address, 10, 90)
    server.serves()
    until(lambda: server.grown("descriptors") == 0, "departed connections are still open")
    cost = server.cost()
    assert server.grown("begun") < 200, "of 900"
    assert cost["dead"] <= WORKERS, "a call may end in the moment in which its handler begins"


def test_large_requests_of_who_has_left_are_given_back(slow):
    server = slow()
    leave_calls(server.address, 300, 1, payload=bytes(250 * 1024))
    server.serves()
    until(lambda: server.grown("descriptors") == 0, "departed connections are still open")
    assert server.grown("begun") < 150, "of 300"
    assert server.grown("memory") < 32 * MIB, "they have sent 75"


def test_a_server_with_few_descriptors_goes_on_accepting(slow):
    server = slow(64)
    for _ in range(150):
        with contextlib.suppress(OSError):
            leave_calls(server.address, 1, 3)
    with grpc.insecure_channel(server.address) as channel:
        reply = GreeterStub(channel).SayHello(HelloRequest(name="quick"), wait_for_ready=True, timeout=PATIENCE)
        assert reply.message == "Hello, quick!"
    until(lambda: server.grown("descriptors") == 0, "departed connections are still open")
    assert server.grown("begun") < 150, "of 450"


def test_a_server_that_is_told_to_end_runs_nothing_for_who_has_left(slow):
    server = slow()
    leave_calls(server.address, 10, 90)
    server.process.send_signal(signal.SIGTERM)
    last = json.loads(server.process.stdout.readline())
    assert server.process.wait(PATIENCE) == 0
    assert last["begun"] - server.before["begun"] < 200, "of 900"
