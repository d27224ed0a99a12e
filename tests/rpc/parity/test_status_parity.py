"""How calls fail, on every pairing: codes, details, abort, exceptions, unknown methods."""

from __future__ import annotations

import logging

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.peers import KINDS, STREAMS_REQUESTS
from tests.rpc.script import READ, greet, polite, request

TEXT = "für 日本, 100 % sicher\nzweite Zeile 😀"
FAILURES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.fixture(autouse=True)
def _no_log(caplog):
    """Handlers that raise are logged with a traceback; here they raise on purpose."""
    caplog.set_level(logging.CRITICAL)


def aborting(code, details):
    def abort():
        yield READ
        yield lambda context: context.abort(code, details)

    return abort


@pytest.mark.parametrize("kind", KINDS)
def test_abort_ends_the_call_with_code_and_details(world, kind):
    answer = world.connect(world.serve(aborting(grpc.StatusCode.NOT_FOUND, TEXT))).call(kind, request())
    assert (answer.code, answer.details, answer.replies) == (grpc.StatusCode.NOT_FOUND, TEXT, [])


@pytest.mark.parametrize("code", FAILURES, ids=lambda code: code.name)
def test_each_code_arrives_as_itself(our_world, code):
    answer = our_world.connect(our_world.serve(aborting(code, "why"))).call("unary", request())
    assert (answer.code, answer.details) == (code, "why")


@pytest.mark.parametrize("kind", KINDS)
def test_set_code_and_set_details_end_the_call(world, kind):
    def fail():
        yield READ
        yield lambda context: context.set_code(grpc.StatusCode.DATA_LOSS)
        yield lambda context: context.set_details(TEXT)

    answer = world.connect(world.serve(fail)).call(kind, request())
    assert (answer.code, answer.details) == (grpc.StatusCode.DATA_LOSS, TEXT)


@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_replies_before_an_abort_arrive(world, kind):
    def two_and_out():
        asked = yield READ
        yield greet(asked)
        yield greet(asked)
        yield lambda context: context.abort(grpc.StatusCode.ABORTED, "enough")

    answer = world.connect(world.serve(two_and_out)).call(kind, request("Ann"))
    assert answer.messages == ["Hello, Ann!"] * 2
    assert (answer.code, answer.details) == (grpc.StatusCode.ABORTED, "enough")


def test_set_code_after_replies_ends_the_stream_with_it(world):
    def one_and_fail():
        yield greet((yield READ))
        yield lambda context: context.set_code(grpc.StatusCode.OUT_OF_RANGE)
        yield lambda context: context.set_details("end of list")

    answer = world.connect(world.serve(one_and_fail)).call("server_stream", request("Ann"))
    assert answer.messages == ["Hello, Ann!"]
    assert (answer.code, answer.details) == (grpc.StatusCode.OUT_OF_RANGE, "end of list")


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_in_a_handler_is_unknown_and_says_what_was_raised(world, kind):
    def broken():
        yield READ
        raise KeyError("lost key")

    answer = world.connect(world.serve(broken)).call(kind, request())
    assert answer.code is grpc.StatusCode.UNKNOWN
    assert "lost key" in answer.details


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_that_was_set_before_an_exception_stands(world, kind):
    def not_implemented(context):
        raise NotImplementedError("Method not implemented!")

    def as_generated():
        yield READ
        yield lambda context: context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        yield lambda context: context.set_details("Method not implemented!")
        yield not_implemented

    answer = world.connect(world.serve(as_generated)).call(kind, request())
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED
    assert "Method not implemented!" in answer.details


def test_an_exception_in_one_handler_leaves_the_next_call_alone(world):
    def sometimes():
        asked = yield READ
        if asked.name == "bad":
            raise ValueError(asked.name)
        yield greet(asked)

    client = world.connect(world.serve(sometimes))
    for _ in range(3):
        assert client.call("unary", request("bad")).code is grpc.StatusCode.UNKNOWN
        assert client.call("unary", request("good")).messages == ["Hello, good!"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/hello.Greeter/Nothing", "/nobody.Service/SayHello"])
def test_a_method_that_nobody_serves_is_unimplemented(world, kind, path):
    client = world.connect(world.serve(polite))
    made = {
        "unary": client.channel.unary_unary,
        "server_stream": client.channel.unary_stream,
        "client_stream": client.channel.stream_unary,
        "bidi": client.channel.stream_stream,
    }[kind]
    setattr(client.stub, KINDS[kind], made(path, lambda _: b"", HelloReply.FromString))
    # No requests where none are needed: grpcio's asyncio calls it INTERNAL when the answer comes before it has written.
    answer = client.call(kind, *([] if kind in STREAMS_REQUESTS else [request()]))
    assert (answer.code, answer.details) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


def test_a_request_that_does_not_parse_is_not_the_handlers_trouble(world):
    client = world.connect(world.serve(polite))
    client.stub.SayHello = client.channel.unary_unary(
        "/hello.Greeter/SayHello", lambda _: b"\xff", HelloReply.FromString
    )
    answer = client.call("unary", request())
    assert answer.code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_does_not_parse_is_internal(our_world, kind):
    """As in grpcio's threads; its asyncio hands out None and says OK, which is nobody's wish."""

    def unparsable(raw):
        raise ValueError(f"{len(raw)} bytes of nonsense")

    client = our_world.connect(our_world.serve(polite))
    made = {
        "unary": client.channel.unary_unary,
        "server_stream": client.channel.unary_stream,
        "client_stream": client.channel.stream_unary,
        "bidi": client.channel.stream_stream,
    }[kind]
    serialize = type(request()).SerializeToString
    setattr(client.stub, KINDS[kind], made(f"/hello.Greeter/{KINDS[kind]}", serialize, unparsable))
    answer = client.call(kind, request())
    assert (answer.code, answer.replies) == (grpc.StatusCode.INTERNAL, [])
    assert "nonsense" in answer.details


def test_an_abort_with_ok_is_a_mistake_of_the_handler(our_world):
    """grpcio's asyncio server leaves such a call without an answer."""
    answer = our_world.connect(our_world.serve(aborting(grpc.StatusCode.OK, "fine"))).call("unary", request())
    assert answer.code is grpc.StatusCode.UNKNOWN


def test_a_failed_call_is_a_grpc_rpc_error_with_code_and_details(our_world):
    client = our_world.connect(our_world.serve(aborting(grpc.StatusCode.NOT_FOUND, "no such thing")))
    call = (
        client.stub.SayHello if our_world.loop is None else lambda one: our_world.loop.run(_awaited(client.stub, one))
    )
    with pytest.raises(grpc.RpcError, match="no such thing") as caught:
        call(request())
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "NOT_FOUND" in str(caught.value)


async def _awaited(stub, message):
    return await stub.SayHello(message)
