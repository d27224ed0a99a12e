"""Calls that nobody looks after: unread, forgotten, waiting in crowds. They end, and their threads with them."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.proxy import Proxy
from tests.rpc.script import PATIENCE, READ, greet, greet_and_stay, polite, request, wait_for
from tests.soak.servers import AioServer, SyncServer

CROWD = 1500  # deeper than Python's stack


@pytest.fixture
def threads():
    """The threads of a name that this test started. Those of other tests, which wait for requests, may live on."""
    before = set(threading.enumerate())
    return lambda name: [each for each in threading.enumerate() if each.name == name and each not in before]


def gone(find):
    """What is found is nothing, soon."""
    until = time.monotonic() + PATIENCE
    while find() and time.monotonic() < until:
        time.sleep(0.02)
    return not find()


def endless(size=1 << 16):
    while True:
        yield request("you", payload=bytes(size))


def test_whoever_sends_hears_that_the_connection_is_lost_though_nobody_reads(sync_world, threads):
    stay = threading.Event()

    def deaf():
        yield READ
        yield greet(request("one"))
        yield wait_for(stay)

    proxy = Proxy(sync_world.serve(deaf))
    with rpc.insecure_channel(proxy.address) as channel:
        call = GreeterStub(channel).Chat(endless())
        next(call)
        assert threads("rpc requests")
        proxy.kill()
        assert gone(lambda: threads("rpc requests"))
        assert call.code() is grpc.StatusCode.UNAVAILABLE
    stay.set()
    proxy.close()


def test_whoever_sends_hears_that_the_server_has_answered_though_nobody_reads(sync_world, threads):
    def hasty():
        asked = yield READ
        for _ in range(3):
            yield greet(asked)

    with rpc.insecure_channel(sync_world.serve(hasty)) as channel:
        call = GreeterStub(channel).Chat(endless())
        assert gone(lambda: threads("rpc requests"))
        assert len(list(call)) == 3


def test_a_call_that_nobody_holds_is_cancelled_while_its_requests_are_sent(sync_world, threads):
    over = threading.Event()
    with rpc.insecure_channel(sync_world.serve(greet_and_stay(over))) as channel:
        call = GreeterStub(channel).Chat(endless())
        next(call)
        del call
        gc.collect()
        assert over.wait(PATIENCE)
        assert gone(lambda: threads("rpc requests"))


def test_a_crowd_of_futures_is_told_that_its_connection_is_lost(sync_world):
    stay = threading.Event()

    def deaf():
        asked = yield READ
        yield wait_for(stay)
        yield greet(asked)

    proxy = Proxy(sync_world.serve(deaf, options=[("grpc.max_concurrent_streams", CROWD)]))
    with rpc.insecure_channel(proxy.address) as channel:
        stub = GreeterStub(channel)
        calls = [stub.SayHello.future(request()) for _ in range(CROWD)]
        while proxy.carried < CROWD * 10:  # most are on their way
            time.sleep(0.02)
        proxy.kill()
        stay.set()
        ends = [call.exception(PATIENCE) for call in calls]
        assert all(end is None or isinstance(end, grpc.RpcError) for end in ends)
    proxy.close()


def test_a_crowd_of_futures_waits_for_its_connection_in_one_thread(sync_world, threads):
    with rpc.insecure_channel("127.0.0.1:1") as channel:
        stub = GreeterStub(channel)
        before = threading.active_count()
        calls = [stub.SayHello.future(request(), wait_for_ready=True) for _ in range(CROWD)]
        assert threading.active_count() - before <= 3  # theirs, one that dials, the tender
    assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
    assert gone(lambda: threads("rpc waiting calls"))


def test_futures_that_wait_end_by_their_deadlines_and_go_on_when_there_is_a_server(sync_world):
    with rpc.insecure_channel("127.0.0.1:1") as channel:
        stub = GreeterStub(channel)
        long = stub.SayHello.future(request(), wait_for_ready=True, timeout=PATIENCE)
        short = [stub.SayHello.future(request(), wait_for_ready=True, timeout=0.1 * i) for i in (3, 2, 1)]
        assert {call.code() for call in short} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert not long.done()
        long.cancel()
    with rpc.insecure_channel(sync_world.serve(polite)) as channel:
        calls = [GreeterStub(channel).SayHello.future(request(str(i))) for i in range(100)]
        assert [call.result(PATIENCE).message for call in calls] == [f"Hello, {i}!" for i in range(100)]


LARGE = 300_000  # more than the window: such a request comes in pieces


def test_a_request_that_was_given_up_before_it_was_whole_leaves_nothing_on_the_server():
    """Call and callback kept each other, and the server."""
    server = SyncServer(None)
    with rpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = GreeterStub(channel)
        for _ in range(100):
            stub.SayHello.future(request(payload=bytes(LARGE))).cancel()
        stub.SayHello(request())
    server.stop(0)
    kept = weakref.ref(server._server)
    del server
    gc.collect()
    assert kept() is None


def test_a_request_that_was_given_up_before_it_was_whole_leaves_nothing_on_an_asyncio_server():
    async def main():
        server = await AioServer(None).start()
        async with rpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = GreeterStub(channel)
            for _ in range(100):
                stub.SayHello(request(payload=bytes(LARGE))).cancel()
            await stub.SayHello(request())
        await server.stop(0)
        return weakref.ref(server._server)

    kept = asyncio.run(main())
    gc.collect()
    assert kept() is None
