"""Channel and server options that a peer can see, on every pairing."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.peers import KINDS
from tests.rpc.script import AIO_CONTEXTS, READ, greet, polite, request

SMALL = [("grpc.max_send_message_length", 1000)]


def saying(name):
    def script():
        pairs = yield lambda context: context.invocation_metadata()
        yield READ
        yield HelloReply(message=dict(pairs)[name])

    return script


def test_the_user_agent_is_framed(world):
    options = [("grpc.primary_user_agent", "shop/1"), ("grpc.secondary_user_agent", "till/2")]
    said = world.connect(world.serve(saying("user-agent")), options).call("unary", request()).messages[0]
    assert said.startswith("shop/1 grpc-python")
    assert said.endswith("till/2")


def test_a_user_agent_given_as_metadata_is_not_sent_beside_the_channel_s(world):
    def script():
        pairs = yield lambda context: context.invocation_metadata()
        yield READ
        yield HelloReply(message="|".join(value for name, value in pairs if name == "user-agent"))

    client = world.connect(world.serve(script))
    [said] = client.call("unary", request(), metadata=[("user-agent", "mine"), ("x-a", "1")]).messages
    assert "|" not in said
    assert said.startswith("grpc-python")


def test_the_authority_may_be_another(our_world, start):
    seen = []

    def look(connection, _):
        connection.greet()
        for got in connection.frames():
            if got.kind == 1:
                seen.append(connection.decode(got.body)[":authority"])
            if got.kind == 0 and got.flags & 1:
                connection.reply(got.stream)

    address = start(look).address
    assert our_world.connect(address, [("grpc.default_authority", "shop.example")]).call("unary", request()).messages
    assert our_world.connect(address).call("unary", request()).messages
    assert seen == ["shop.example", address]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_over_the_own_limit_is_not_sent(world, kind):
    client = world.connect(world.serve(polite), SMALL)
    answer = client.call(kind, request("big", payload=b"x" * 2000))
    if kind in {"unary", "server_stream"}:
        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Sent message larger than max" in answer.details
    else:
        assert answer.code is not grpc.StatusCode.OK
    assert client.call(kind, request("small")).code.name == "OK"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_over_the_servers_limit_is_not_sent(world, kind):
    def script():
        asked = yield READ
        yield HelloReply(payload=bytes(asked.count))

    client = world.connect(world.serve(script, SMALL))
    answer = client.call(kind, request(count=2000))
    assert answer.code is not grpc.StatusCode.OK
    assert answer.replies == []
    if world.server_make == "ours":
        assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Sent message larger than max" in answer.details
    assert client.call(kind, request(count=20)).code.name == "OK"


def unserializable(_):
    raise ValueError("no bytes for this")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_cannot_be_serialized_fails_the_call(our_world, kind):
    client = our_world.connect(our_world.serve(polite))
    made = {
        "unary": client.channel.unary_unary,
        "server_stream": client.channel.unary_stream,
        "client_stream": client.channel.stream_unary,
        "bidi": client.channel.stream_stream,
    }[kind]
    setattr(client.stub, KINDS[kind], made(f"/hello.Greeter/{KINDS[kind]}", unserializable, HelloReply.FromString))
    answer = client.call(kind, request())
    assert answer.code in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
    assert "no bytes for this" in answer.details


def pause(context):
    return asyncio.sleep(0.01) if isinstance(context, AIO_CONTEXTS) else time.sleep(0.01)


def test_a_server_takes_so_many_calls_of_a_connection_at_once(world):
    """The others wait at the client, and are answered."""
    if world.server_make == "grpcio":
        pytest.skip("it resets many of those that it was not asked to take")
    running, most, lock = 0, 0, threading.Lock()

    def script():
        nonlocal running, most
        asked = yield READ
        with lock:
            running += 1
            most = max(most, running)
        yield pause
        with lock:
            running -= 1
        yield greet(asked)

    options = [("grpc.max_connections_per_subchannel_cap", 1)]
    client = world.connect(world.serve(script, [("grpc.max_concurrent_streams", 2)]), options)
    assert client.call("unary", request()).code.name == "OK"  # the server's settings are known now
    calls = [client.begin("unary", request(str(number))) for number in range(20)]
    assert {call.code().name for call in calls} == {"OK"}
    assert most <= 2
