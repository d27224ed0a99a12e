"""Back-pressure: a slow reader stops a fast writer, in every direction, and nobody else."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.script import PATIENCE, READ, greet, request, wait_for
from tests.rpc.tls.ends import resident

PIECE = 64 * 1024
# What both kernels' socket buffers and both windows may hold; a writer that nobody stops passes it in a second or two.
# Both measure the bandwidth (BDP); grpcio's client was seen to let 36 MiB come.
MOST = 64 * 1024 * 1024 // PIECE


def settled(counter):
    """The count once it does not grow any more; fails when it passes what buffers may hold."""
    last, until = -1, time.monotonic() + PATIENCE
    while time.monotonic() < until:
        assert len(counter) < MOST, "nothing stops the writer"
        if counter and len(counter) == last:
            return last
        last = len(counter)
        time.sleep(0.3)
    raise AssertionError("the writer did not come to rest")


def grows_past(counter, count):
    until = time.monotonic() + PATIENCE
    while len(counter) <= count:
        assert time.monotonic() < until, "the writer did not go on"
        time.sleep(0.01)


def flooding(written):
    def flood():
        yield READ
        while True:
            yield HelloReply(payload=bytes(PIECE))
            written.append(1)

    return flood


def endless(written):
    for i in itertools.count():
        yield request(str(i), payload=bytes(PIECE))
        written.append(1)


@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_a_client_that_does_not_read_stops_the_handler(world, kind):
    written = []
    call = world.connect(world.serve(flooding(written))).begin(kind, request())
    assert call.read() is not None
    stopped = settled(written)
    for _ in range(stopped + 8):
        assert len(call.read().payload) == PIECE
    grows_past(written, stopped)
    call.cancel()


@pytest.mark.parametrize("kind", ["client_stream", "bidi"])
def test_a_handler_that_does_not_read_stops_the_client(world, kind):
    written, taken, go_on = [], [], threading.Event()

    def reluctant():
        yield READ
        yield wait_for(go_on)
        while (yield READ) is not None and len(taken) < MOST * 2:
            taken.append(1)

    client = world.connect(world.serve(reluctant))
    held = client.pour(kind, endless(written))
    stopped = settled(written)
    go_on.set()
    grows_past(written, stopped + 8)
    grows_past(taken, 8)
    client.close()
    del held


@pytest.mark.parametrize("stalled", [1, 30])
def test_stalled_streams_do_not_block_other_calls_of_the_connection(our_world, stalled):
    written = []

    def by_name():
        asked = yield READ
        while asked.name == "flood":
            yield HelloReply(payload=bytes(PIECE))
            written.append(1)
        yield greet(asked)

    client = our_world.connect(our_world.serve(by_name, threads=64))
    calls = [client.begin("server_stream", request("flood")) for _ in range(stalled)]
    for call in calls:
        assert call.read() is not None
    settled(written)
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        assert client.call(kind, request("Ann", payload=bytes(PIECE))).messages == ["Hello, Ann!"]
    for call in calls:
        call.cancel()


def test_a_stalled_request_stream_does_not_block_other_calls_of_the_connection(our_world):
    written, go_on = [], threading.Event()

    def by_name():
        asked = yield READ
        if asked.name == "0":
            yield wait_for(go_on)
        yield greet(asked)

    client = our_world.connect(our_world.serve(by_name))
    held = client.pour("bidi", endless(written))
    settled(written)
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        assert client.call(kind, request("Ann", payload=bytes(PIECE))).messages == ["Hello, Ann!"]
    go_on.set()
    client.close()
    del held


def test_a_message_larger_than_the_window_does_not_wait_for_itself(our_world):
    """The window is withheld between messages, not within one."""
    big = bytes(3 * 1024 * 1024)

    def big_ones():
        asked = yield READ
        for _ in range(3):
            yield HelloReply(payload=asked.payload)

    call = our_world.connect(our_world.serve(big_ones)).begin("server_stream", request(payload=big))
    assert [len(call.read().payload) for _ in range(3)] == [len(big)] * 3
    assert call.read() is None


# Between our own two ends: a stream's window, and the kernels' buffers of both; and as memory, with each side's copies.
OURS, RESIDENT = 24 * 1024 * 1024 // PIECE, 96 * 1024 * 1024


@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_what_a_client_does_not_read_is_little_and_so_is_the_memory_for_it(our_world, kind):
    written = []
    call = our_world.connect(our_world.serve(flooding(written))).begin(kind, request())
    assert call.read() is not None
    before = resident()
    assert settled(written) < OURS
    assert resident() - before < RESIDENT
    for _ in range(2 * OURS):
        assert len(call.read().payload) == PIECE
    assert len(written) <= 3 * OURS, "the writer is ahead by more than the buffers hold"
    assert resident() - before < RESIDENT
    call.cancel()


@pytest.mark.parametrize("kind", ["client_stream", "bidi"])
def test_what_a_handler_does_not_read_is_little_and_so_is_the_memory_for_it(our_world, kind):
    written, taken, go_on = [], [], threading.Event()

    def reluctant():
        yield READ
        yield wait_for(go_on)
        while (yield READ) is not None:
            taken.append(1)

    client = our_world.connect(our_world.serve(reluctant))
    before = resident()
    held = client.pour(kind, endless(written))
    assert settled(written) < OURS
    assert resident() - before < RESIDENT
    go_on.set()
    grows_past(taken, 2 * OURS)
    assert len(written) - len(taken) < OURS
    assert resident() - before < RESIDENT
    client.close()
    del held
