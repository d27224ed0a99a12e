"""Messages of a stream leave together, but none waits for one that its sender has not sent yet."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import rpc
from examples.hello.hello_pb2 import HelloReply, HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from tests.rpc.script import PATIENCE, READ, greet, request, wait_for

BURST = 40


class Greeter(GreeterServicer):
    def __init__(self, go_on):
        self._go_on = go_on

    def ListHellos(self, request, context):  # noqa: N802 - grpc's name
        for _ in range(BURST):
            yield HelloReply(payload=request.payload)
        assert self._go_on.wait(PATIENCE)
        yield HelloReply(message="last")


@pytest.mark.parametrize(("in_pool", "size"), [(True, 10), (True, 1000), (True, 30_000), (False, 10), (False, 30_000)])
def test_replies_before_a_pause_arrive(in_pool, size):
    """Also those of a server without a pool, and those that the client's window has no room for."""
    go_on = threading.Event()
    server = rpc.server(ThreadPoolExecutor(2) if in_pool else None)
    add_GreeterServicer_to_server(Greeter(go_on), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in range(3):
            replies = GreeterStub(channel).ListHellos(HelloRequest(payload=bytes(size)), timeout=PATIENCE)
            assert [len(next(replies).payload) for _ in range(BURST)] == [size] * BURST
            go_on.set()
            assert [reply.message for reply in replies] == ["last"]
            go_on.clear()
    server.stop(0).wait(PATIENCE)


def test_requests_before_a_pause_arrive(sync_world):
    heard = threading.Event()

    def listener():
        for _ in range(BURST):
            yield READ
        yield lambda _: heard.set()
        while (asked := (yield READ)) is not None:
            yield greet(asked)

    def requests():
        for i in range(BURST):
            yield request(str(i))
        assert heard.wait(PATIENCE)
        yield request("last")

    client = sync_world.connect(sync_world.serve(listener))
    replies = client.pour("bidi", requests())
    assert [reply.message for reply in replies] == ["Hello, last!"]


def test_one_message_each_way_at_a_time(our_world):
    go_on = threading.Event()
    go_on.set()

    def echo():
        while (asked := (yield READ)) is not None:
            yield wait_for(go_on)
            yield greet(asked)

    call = our_world.connect(our_world.serve(echo)).begin("bidi", request("0"))
    for i in range(200):
        assert call.read().message == f"Hello, {i}!"
        call.write(request(str(i + 1)))
    call.cancel()


def test_nothing_is_held_while_the_thread_that_would_let_go_is_busy():
    """Without a pool a unary handler runs there, and begins only once the stream's handler has: who is busy accepts
    nothing.
    """
    streams, busy, arrived = threading.Event(), threading.Event(), threading.Event()

    class Busy(GreeterServicer):
        def SayHello(self, request, context):  # noqa: N802 - grpc's name
            busy.set()
            return HelloReply(message=str(arrived.wait(PATIENCE)))

        def ListHellos(self, request, context):  # noqa: N802 - grpc's name
            streams.set()
            assert busy.wait(PATIENCE)
            for _ in range(BURST):
                yield HelloReply()
            arrived.wait(PATIENCE)

    server = rpc.server(None)
    add_GreeterServicer_to_server(Busy(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with rpc.insecure_channel(address) as channel, rpc.insecure_channel(address) as other:
        replies = GreeterStub(channel).ListHellos(HelloRequest(), timeout=PATIENCE)
        assert streams.wait(PATIENCE)
        call = GreeterStub(other).SayHello.future(HelloRequest(), timeout=PATIENCE * 2)
        for _ in range(BURST):
            next(replies)
        arrived.set()
        assert call.result().message == "True"
    server.stop(0).wait(PATIENCE)
