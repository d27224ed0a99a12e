"""One generated stub, unchanged, on every pairing of our and grpcio's channels and servers: messages and metadata."""

from __future__ import annotations

import threading

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.peers import KINDS, STREAMS_REPLIES, STREAMS_REQUESTS, ours_only
from tests.rpc.script import READ, greet, polite, request, wait_for

SENT = (("x-plain", "a value, with = and ;"), ("x-twice", "1"), ("x-twice", "2"), ("x-raw-bin", bytes(range(256))))


def several(kind, count):
    return [request(f"n{i}") for i in range(count if kind in STREAMS_REQUESTS else 1)]


def test_unary_is_answered(world):
    answer = world.connect(world.serve(polite)).call("unary", request("Ann"))
    assert (answer.code.name, answer.messages) == ("OK", ["Hello, Ann!"])


def test_a_server_stream_arrives_whole_and_in_order(world):
    def count_up():
        wanted = (yield READ).count
        for i in range(wanted):
            yield HelloReply(message=str(i))

    answer = world.connect(world.serve(count_up)).call("server_stream", request(count=1000))
    assert (answer.code.name, answer.messages) == ("OK", [str(i) for i in range(1000)])


def test_a_client_stream_arrives_whole_and_in_order(world):
    def collect():
        names = []
        while (asked := (yield READ)) is not None:
            names.append(asked.name)
        yield HelloReply(message=",".join(names))

    answer = world.connect(world.serve(collect)).call("client_stream", *several("client_stream", 1000))
    assert (answer.code.name, answer.messages) == ("OK", [",".join(f"n{i}" for i in range(1000))])


def test_a_thousand_messages_go_each_way(world):
    answer = world.connect(world.serve(polite)).call("bidi", *several("bidi", 1000))
    assert (answer.code.name, answer.messages) == ("OK", [f"Hello, n{i}!" for i in range(1000)])


def test_a_conversation_goes_back_and_forth_on_one_stream(world):
    call = world.connect(world.serve(polite)).begin("bidi")
    for name in ("Ann", "Ben", "Cem"):
        call.write(request(name))
        assert call.read().message == f"Hello, {name}!"
    call.done_writing()
    assert call.read() is None
    assert call.code().name == "OK"


def test_the_server_may_answer_before_the_client_has_sent_all(world):
    def first_only():
        yield greet((yield READ))

    call = world.connect(world.serve(first_only)).begin("bidi", request("Ann"))
    assert call.read().message == "Hello, Ann!"
    assert call.read() is None
    assert call.code().name == "OK"
    call.cancel()


@pytest.mark.parametrize("kind", ["client_stream", "bidi"])
def test_a_stream_of_no_requests_is_a_call(world, kind):
    def nobody():
        assert (yield READ) is None
        yield HelloReply(message="nobody")

    answer = world.connect(world.serve(nobody)).call(kind)
    assert (answer.code.name, answer.messages) == ("OK", ["nobody"])


@pytest.mark.parametrize("kind", sorted(STREAMS_REPLIES))
def test_a_stream_of_no_replies_ends_well(world, kind):
    def silent():
        yield READ

    answer = world.connect(world.serve(silent)).call(kind, request())
    assert (answer.code.name, answer.replies) == ("OK", [])


@pytest.mark.parametrize("kind", KINDS)
def test_empty_messages_are_messages(world, kind):
    def empty():
        assert (yield READ).ByteSize() == 0
        yield HelloReply()

    answer = world.connect(world.serve(empty)).call(kind, request(""))
    assert (answer.code.name, answer.replies) == ("OK", [HelloReply()])


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_of_the_client_reaches_the_handler(world, kind):
    seen = []

    def look():
        seen.extend(ours_only((yield lambda context: context.invocation_metadata())))
        yield greet((yield READ))

    assert world.connect(world.serve(look)).call(kind, request(), metadata=SENT).code.name == "OK"
    assert sorted(seen) == sorted(SENT)
    assert [value for key, value in seen if key == "x-twice"] == ["1", "2"]


@pytest.mark.parametrize("kind", KINDS)
def test_initial_and_trailing_metadata_reach_the_client(world, kind):
    def annotate():
        asked = yield READ
        yield lambda context: context.send_initial_metadata(SENT)
        yield lambda context: context.set_trailing_metadata((("x-end", "1"), ("x-end", "2"), ("x-end-bin", b"\0\xff")))
        yield greet(asked)

    answer = world.connect(world.serve(annotate)).call(kind, request())
    assert answer.code.name == "OK"
    assert sorted(answer.initial) == sorted(SENT)
    assert sorted(answer.trailing) == [("x-end", "1"), ("x-end", "2"), ("x-end-bin", b"\0\xff")]


@pytest.mark.parametrize("kind", KINDS)
def test_trailing_metadata_comes_with_a_failure_too(world, kind):
    def refuse():
        yield READ
        yield lambda context: context.set_trailing_metadata((("x-why", "because"),))
        yield lambda context: context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")

    answer = world.connect(world.serve(refuse)).call(kind, request())
    assert (answer.code.name, answer.trailing) == ("FAILED_PRECONDITION", [("x-why", "because")])


def test_initial_metadata_comes_before_the_first_reply(world):
    go = threading.Event()

    def early():
        yield lambda context: context.send_initial_metadata((("x-early", "yes"),))
        yield wait_for(go)
        yield greet((yield READ))

    call = world.connect(world.serve(early)).begin("server_stream", request())
    initial = call.call.initial_metadata()
    if world.loop is not None:
        initial = world.loop.run(_awaited(initial))
    assert ours_only(initial) == [("x-early", "yes")]
    go.set()
    assert call.read() is not None
    assert call.read() is None


async def _awaited(awaitable):
    return await awaitable
