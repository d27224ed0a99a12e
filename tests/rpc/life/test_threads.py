"""Many threads on one channel: each gets its own answer, whoever reads the connection."""

from __future__ import annotations

import threading
from concurrent import futures

import grpc
import pytest

import rpc
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE, READ, SyncServicer, greet, polite, request, stay_until_over, wait_for

THREADS = 16


@pytest.fixture(params=["ours", "grpcio"])
def world(request):
    """Our blocking client against both servers."""
    world = World("sync", "ours", request.param)
    yield world
    world.close()


def together(job, count=THREADS):
    """Run job(i) in threads that begin at once; their results in order."""
    start = threading.Barrier(count)

    def run(i):
        start.wait(PATIENCE)
        return job(i)

    with futures.ThreadPoolExecutor(count) as pool:
        return [done.result(PATIENCE * 1.5) for done in [pool.submit(run, i) for i in range(count)]]


def test_sixteen_threads_on_one_channel_each_get_their_own_answers(world):
    client = world.connect(world.serve(polite))

    def job(i):
        return all(
            client.stub.SayHello(request(f"{i}/{n}", payload=bytes(n))).message == f"Hello, {i}/{n}!"
            for n in range(200)
        )

    assert all(together(job))


def test_threads_may_read_one_stream(world):
    """Each message goes to one of them, and all hear of the end; grpcio's own threads fail at this."""
    stream = world.connect(world.serve(polite)).stub.ListHellos(request(count=2000))
    assert sum(together(lambda _: len(list(stream)), 4)) == 2000


def test_threads_that_stream_get_their_own_messages(world):
    client = world.connect(world.serve(polite, threads=32))

    def job(i):
        names = [f"{i}/{n}" for n in range(100)]
        return client.call("bidi", *map(request, names)).messages == [f"Hello, {name}!" for name in names]

    assert all(together(job))


def test_all_kinds_of_call_go_over_one_connection_at_once(world):
    client = world.connect(world.serve(polite, threads=32))

    def job(i):
        kind = ("unary", "server_stream", "client_stream", "bidi")[i % 4]
        return [client.call(kind, request(f"{i}/{n}")).messages for n in range(50)] == [
            [f"Hello, {i}/{n}!"] for n in range(50)
        ]

    assert all(together(job))


def test_the_first_calls_of_many_threads_share_one_dial(world):
    for _ in range(5):
        client = world.connect(world.serve(polite))
        assert together(lambda i, c=client: c.call("unary", request(str(i))).messages) == [
            [f"Hello, {i}!"] for i in range(THREADS)
        ]


def test_a_slow_call_does_not_hold_up_the_answers_of_others(world):
    go_on, arrived = threading.Event(), threading.Event()

    def slow_or_not():
        asked = yield READ
        if asked.name == "slow":
            arrived.set()
            yield wait_for(go_on)
        yield greet(asked)

    client = world.connect(world.serve(slow_or_not))
    with futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.call, "unary", request("slow"))
        assert arrived.wait(PATIENCE)
        assert all(together(lambda i: client.call("unary", request(str(i))).messages == [f"Hello, {i}!"]))
        go_on.set()
        assert slow.result(PATIENCE).messages == ["Hello, slow!"]


def test_when_the_reading_thread_gives_up_the_others_still_get_their_answers(world):
    """The thread with the shortest deadline began first, so it reads for all; it leaves before any answer came."""
    go_on, arrived = threading.Event(), threading.Semaphore(0)

    def wait():
        arrived.release()
        yield wait_for(go_on)
        yield greet((yield READ))

    client = world.connect(world.serve(wait))
    with futures.ThreadPoolExecutor(8) as pool:
        short = pool.submit(client.call, "unary", request("short"), timeout=0.5)
        assert arrived.acquire(timeout=PATIENCE)
        others = [pool.submit(client.call, "unary", request(str(i))) for i in range(7)]
        for _ in others:
            assert arrived.acquire(timeout=PATIENCE)
        assert short.result(PATIENCE).code is grpc.StatusCode.DEADLINE_EXCEEDED
        go_on.set()
        assert [other.result(PATIENCE).messages for other in others] == [[f"Hello, {i}!"] for i in range(7)]


def test_futures_are_answered_though_no_thread_waits(world):
    client = world.connect(world.serve(polite))
    answered, lock = [], threading.Lock()
    all_there = threading.Event()

    def note(done):
        with lock:
            answered.append(done.result().message)
            if len(answered) == 50:
                all_there.set()

    for i in range(50):
        client.stub.SayHello.future(request(str(i))).add_done_callback(note)
    assert all_there.wait(PATIENCE)
    assert sorted(answered) == sorted(f"Hello, {i}!" for i in range(50))


def test_a_future_is_answered_while_another_thread_waits_for_its_own_call(world):
    go_on, arrived = threading.Event(), threading.Event()

    def slow_or_not():
        asked = yield READ
        if asked.name == "slow":
            arrived.set()
            yield wait_for(go_on)
        yield greet(asked)

    client = world.connect(world.serve(slow_or_not))
    with futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(client.call, "unary", request("slow"))
        assert arrived.wait(PATIENCE)
        assert client.stub.SayHello.future(request("quick")).result(PATIENCE).message == "Hello, quick!"
        go_on.set()
        assert slow.result(PATIENCE).code is grpc.StatusCode.OK


def test_a_future_ends_with_its_deadline_though_no_thread_waits(world):
    over, done = threading.Event(), threading.Event()

    def stay():
        yield stay_until_over(over)

    call = world.connect(world.serve(stay)).stub.SayHello.future(request(), timeout=0.2)
    call.add_done_callback(lambda _: done.set())
    assert done.wait(PATIENCE)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert over.wait(PATIENCE)


def test_a_callback_may_make_the_next_call(world):
    client = world.connect(world.serve(polite))
    done = threading.Event()
    chain = []

    def next_one(previous):
        chain.append(previous.result().message)
        if len(chain) == 5:
            done.set()
        else:
            client.stub.SayHello.future(request(str(len(chain)))).add_done_callback(next_one)

    client.stub.SayHello.future(request("0")).add_done_callback(next_one)
    assert done.wait(PATIENCE)
    assert chain == [f"Hello, {i}!" for i in range(5)]


def test_a_waiting_future_says_when_it_was_not_answered_in_time(world):
    go_on = threading.Event()

    def wait():
        yield wait_for(go_on)
        yield greet((yield READ))

    call = world.connect(world.serve(wait)).stub.SayHello.future(request("Ann"))
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.05)
    assert not call.done()
    go_on.set()
    assert call.result(PATIENCE).message == "Hello, Ann!"


def test_a_cancelled_future_says_so(world):
    over, arrived = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    call = world.connect(world.serve(stay)).stub.SayHello.future(request())
    assert arrived.wait(PATIENCE)
    assert call.cancel()
    assert call.cancelled()
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert over.wait(PATIENCE)


@pytest.fixture
def serve():
    ends = []

    def start(pool, script):
        server = rpc.server(pool)
        add_GreeterServicer_to_server(SyncServicer(script), server)
        channel = grpc.insecure_channel(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        server.start()
        ends.append((server, channel))
        return GreeterStub(channel)

    yield start
    for server, channel in ends:
        channel.close()
        server.stop(0).wait(PATIENCE)


def code_of(call):
    with pytest.raises(grpc.RpcError) as failed:
        call()
    return failed.value.code()


@pytest.mark.parametrize("raised", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("threads", [0, 1])
def test_whatever_a_handler_raises_ends_its_own_call_only(serve, threads, raised):
    def script():
        asked = yield READ
        if asked.name == "callback":
            yield lambda context: context.add_callback(leave) and None
        elif asked.name == "bad":
            leave()
        yield greet(asked)

    def leave():
        raise raised(3)

    stub = serve(futures.ThreadPoolExecutor(threads) if threads else None, script)
    for _ in range(3):
        assert code_of(lambda: stub.SayHello(request("bad"), timeout=PATIENCE)) is grpc.StatusCode.UNKNOWN
        assert code_of(lambda: list(stub.ListHellos(request("bad"), timeout=PATIENCE))) is grpc.StatusCode.UNKNOWN
        assert stub.SayHello(request("callback"), timeout=PATIENCE).message == "Hello, callback!"
        assert stub.SayHello(request("good"), timeout=PATIENCE).message == "Hello, good!"


def test_whatever_a_pool_raises_ends_one_call_only(serve):
    class Leaves(futures.ThreadPoolExecutor):
        left = False

        def submit(self, *args, **how):
            if not self.left:
                self.left = True
                raise SystemExit(3)
            return super().submit(*args, **how)

    stub = serve(Leaves(1), polite)
    assert code_of(lambda: stub.SayHello(request("bad"), timeout=PATIENCE)) is grpc.StatusCode.UNKNOWN
    assert stub.SayHello(request("good"), timeout=PATIENCE).message == "Hello, good!"
