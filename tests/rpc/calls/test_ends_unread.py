"""The end of a stream is known when it has come, read or not, and what came before it can still be read."""

from __future__ import annotations

import gzip
import threading

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc import frames
from tests.rpc.peers import ours_only
from tests.rpc.script import PATIENCE, READ, greet, request

NOT_FOUND = grpc.StatusCode.NOT_FOUND
REPLIES = 3
REPLY = frames.message(HelloReply(message="x").SerializeToString())


def some_replies(fails=False):
    def answer():
        asked = yield READ
        for _ in range(REPLIES):
            yield greet(asked)
        if fails:
            yield lambda context: context.set_trailing_metadata((("x-end", "here"),))
            yield lambda context: context.abort(NOT_FOUND, "no more")

    return answer


def ended(world, call):
    """What is told of the end; in asyncio by what is awaited."""

    async def told():
        assert isinstance(await call.debug_error_string(), str)
        return await call.code(), await call.details(), ours_only(await call.trailing_metadata())

    if world.kind == "aio":
        return world.loop.run(told())
    return call.code(), call.details(), ours_only(call.trailing_metadata())


def when_done(world, call):
    done = threading.Event()

    async def add():
        call.add_done_callback(lambda _: done.set())

    if world.kind == "aio":
        world.loop.run(add())
    else:
        call.add_done_callback(lambda _: done.set())
    return done


FAILED = (NOT_FOUND, "no more", [("x-end", "here")])
OUTCOMES = pytest.mark.parametrize(("fails", "outcome"), [(False, (grpc.StatusCode.OK, "", [])), (True, FAILED)])


@OUTCOMES
@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_the_end_is_known_when_all_was_read_though_nobody_reads_the_end(world, kind, fails, outcome):
    begun = world.connect(world.serve(some_replies(fails))).begin(kind, request("Ann"))
    done = when_done(world, begun.call)
    assert [begun.read().message for _ in range(REPLIES)] == ["Hello, Ann!"] * REPLIES
    assert ended(world, begun.call) == outcome
    assert done.wait(PATIENCE)
    assert begun.call.done()


@pytest.mark.parametrize("kind", ["client_stream", "bidi"])
def test_the_end_is_known_after_the_last_request(world, kind):
    def silent():
        while (yield READ) is not None:
            pass
        if kind == "client_stream":
            yield HelloReply()

    begun = world.connect(world.serve(silent)).begin(kind, request("Ann"))
    done = when_done(world, begun.call)
    begun.done_writing()
    assert done.wait(PATIENCE)
    assert ended(world, begun.call) == (grpc.StatusCode.OK, "", [])


@OUTCOMES
@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
def test_the_end_is_known_before_anything_was_read_and_all_of_it_can_be_read_then(
    our_world, compression, fails, outcome
):
    address = our_world.serve(some_replies(fails), compression=compression)
    begun = our_world.connect(address).begin("server_stream", request("Ann" * 100))
    assert when_done(our_world, begun.call).wait(PATIENCE)
    assert ended(our_world, begun.call) == outcome
    assert begun.call.done()
    begun.cancel()  # too late
    assert [begun.read().message for _ in range(REPLIES)] == [f"Hello, {'Ann' * 100}!"] * REPLIES
    if fails:
        with pytest.raises(grpc.RpcError, match="no more"):
            begun.read()
    else:
        assert begun.read() is None
    assert ended(our_world, begun.call) == outcome


def test_what_came_before_the_end_can_be_read_after_the_deadline(our_world):
    begun = our_world.connect(our_world.serve(some_replies())).begin("server_stream", request("Ann"), timeout=2)
    assert ended(our_world, begun.call)[0] is grpc.StatusCode.OK
    threading.Event().wait(2.2)
    assert [begun.read().message for _ in range(REPLIES)] == ["Hello, Ann!"] * REPLIES
    assert begun.read() is None


def test_what_came_before_the_connection_was_lost_can_be_read_when_the_end_is_known(our_world, start):
    def two_and_a_bit(connection, stream):
        connection.head(stream)
        connection.send(frames.frame(frames.DATA, stream, REPLY * 2 + REPLY[:4]))
        connection.close()

    begun = our_world.connect(start(frames.answering(two_and_a_bit)).address).begin("server_stream", request("Ann"))
    assert ended(our_world, begun.call)[0] is grpc.StatusCode.UNAVAILABLE
    assert [begun.read().message for _ in range(2)] == ["x", "x"]
    with pytest.raises(grpc.RpcError) as error:
        begun.read()
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (frames.message(b"no gzip", flag=1), grpc.StatusCode.INTERNAL),
        (frames.message(gzip.compress(bytes(5 << 20)), flag=1), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (frames.message(b"x", flag=4), grpc.StatusCode.INTERNAL),
        (frames.message(b"x", length=5 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (frames.message(b"x", length=2), grpc.StatusCode.INTERNAL),
    ],
    ids=["no-gzip", "bomb", "flag", "length", "cut"],
)
def test_a_message_that_cannot_be_read_is_the_end_when_it_is_reached(our_world, start, last, code):
    def broken_last(connection, stream):
        connection.head(stream, "200", ("grpc-encoding", "gzip"))
        connection.send(frames.frame(frames.DATA, stream, REPLY + last))
        connection.trailers(stream)

    begun = our_world.connect(start(frames.answering(broken_last)).address).begin("server_stream", request("Ann"))
    assert begun.read().message == "x"
    with pytest.raises(grpc.RpcError) as error:
        begun.read()
    assert error.value.code() is code
    assert ended(our_world, begun.call)[0] is code
