"""Servers that mean no good: the call that met one fails with the code it should, its memory stays bounded, the client
counts it, other channels do not notice, and the next call finds a new connection.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from rpc.aio.reactor import shared_reactor
from rpc.blocking.tender import tended_reactor
from tests.rpc import frames
from tests.rpc.costs import MIB, forget_peak, peak
from tests.rpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    frame,
    message,
)
from tests.rpc.script import polite
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import until

PROTOCOL_ERROR, FLOW_CONTROL_ERROR = 0x1, 0x3
# :status 200 and content-type, by HPACK's static table
BEGUN = b"\x88\x0f\x10\x10application/grpc"
FIELDS = b"\0\1x\1y" * 3000


def code(said):
    """Of a GOAWAY or a RST_STREAM."""
    return struct.unpack(">I", said.body[4:8] if said.kind == GOAWAY else said.body)[0]


def headers_without_end(_, stream):
    yield frame(HEADERS, stream, BEGUN)
    yield from [frame(CONTINUATION, stream, FIELDS)] * 100


def trailers_without_end(_, stream):
    yield frame(HEADERS, stream, BEGUN, END_HEADERS)
    yield frame(HEADERS, stream, FIELDS, END_STREAM)
    yield from [frame(CONTINUATION, stream, FIELDS)] * 100


def interim_responses_without_end(connection, stream):
    yield from [connection.headers(stream, [(":status", "103"), ("link", "x")])] * 5000


def goaways_without_end(_, stream):
    yield from [frame(GOAWAY, body=struct.pack(">II", stream, 0))] * 5000


def pings(*_):
    yield from [frame(PING, body=b"12345678")] * 5000


def settings(*_):
    yield from [frame(SETTINGS)] * 1000


def a_promise(_, stream):
    yield frame(PUSH_PROMISE, stream, struct.pack(">I", 2) + BEGUN, END_HEADERS)


CALM = frames.CALM


@pytest.fixture
def counters(our_world):
    """What the client's reactor has counted since the test began."""

    async def of_loop():
        return shared_reactor(our_world.loop.loop, None)

    reactor = tended_reactor() if our_world.loop is None else our_world.loop.run(of_loop())
    before = reactor.counters()
    return lambda: {name: count - before[name] for name, count in reactor.counters().items()}


@pytest.fixture
def meet(our_world, start):
    """Call a server whose first connection follows the script and whose others are good.

    Returns the first call's answer, when another channel's call and the channel's next one have been answered.
    """

    def call(script, kind="unary", **how):
        other = our_world.connect(our_world.serve(polite))
        assert other.call("unary", asked("before")).messages == ["Hello, before!"]

        def turns_good(connection, number):
            connection.greet()
            if number == 1:
                script(connection, connection.request())
            else:
                connection.serve_on()

        client = our_world.connect(start(turns_good).address)
        answer = client.call(kind, asked("Ann"), **how)
        assert other.call("unary", asked("after")).messages == ["Hello, after!"]
        again = client.call("unary", asked("Ann"), wait_for_ready=True)
        assert (again.code, again.messages) == (grpc.StatusCode.OK, ["hi"]), again.details
        return answer

    return call


@pytest.mark.parametrize(
    ("flood", "expected"),
    [
        (headers_without_end, CALM),
        (trailers_without_end, CALM),
        (interim_responses_without_end, CALM),
        (goaways_without_end, CALM),
        (pings, CALM),
        (settings, CALM),
        (a_promise, PROTOCOL_ERROR),
    ],
)
def test_a_server_that_floods_or_breaks_the_rules_is_left(meet, counters, flood, expected):
    told = []

    def script(connection, stream):
        with contextlib.suppress(OSError):  # the client has had enough of it and has hung up
            for piece in flood(connection, stream):
                connection.send(piece)
        with contextlib.suppress(OSError):  # bytes that nobody read may take the client's last words with them
            told.append(connection.next(GOAWAY))

    answer = meet(script)
    assert answer.code is grpc.StatusCode.UNAVAILABLE, answer
    assert [code(goaway) for goaway in told if goaway is not None] in ([], [expected])
    assert counters()["given_up"] == 1


@pytest.mark.parametrize("status", [[], [("grpc-status", "0")]], ids=["a head", "a whole answer, it says"])
def test_data_beyond_the_window_ends_its_call_only(our_world, start, counters, status):
    """The server sends without end to who does not read; the connection and its other calls go on."""
    told = []

    def script(connection, _):
        connection.greet()
        stream = connection.request()
        connection.head(stream, "200", *status)
        piece = frame(DATA, stream, message(HelloReply(payload=bytes(16_000)).SerializeToString()))
        for _ in range(40):
            connection.send(piece)
        told.append(connection.next(RST_STREAM))
        connection.serve_on()

    client = our_world.connect(start(script).address)
    call = client.begin("server_stream", asked("Ann"))
    until(lambda: told, "the stream was not reset")
    with contextlib.suppress(grpc.RpcError):  # what came before may be read
        while call.read() is not None:
            pass
    assert call.code() is grpc.StatusCode.INTERNAL
    assert client.call("unary", asked("Ann")).messages == ["hi"]
    assert [code(reset) for reset in told] == [FLOW_CONTROL_ERROR]
    assert counters()["malformed"] == 1
    assert counters()["given_up"] == 0


def test_settings_by_the_thousand_in_one_frame_are_read(meet, counters):
    def script(connection, stream):
        connection.send(frame(SETTINGS, body=struct.pack(">HI", 0x99, 7) * 2700))
        connection.reply(stream)
        connection.serve_on()

    assert meet(script).messages == ["hi"]
    assert counters()["given_up"] == 0


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_a_bomb_is_not_inflated_beyond_the_limit(meet, kind):
    bomb = message(gzip.compress(bytes(200 * MIB)), flag=1)

    def script(connection, stream):
        connection.head(stream, "200", ("grpc-encoding", "gzip"))
        for at in range(0, len(bomb), 16384):
            connection.send(frame(DATA, stream, bomb[at : at + 16384]))
        connection.serve_on()

    forget_peak()
    before = peak()
    answer = meet(script, kind)
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED, answer
    assert peak() - before < 64 * MIB


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_a_length_over_the_limit_is_refused_before_its_bytes(meet, kind):
    def script(connection, stream):
        connection.head(stream)
        connection.send(frame(DATA, stream, message(b"x", length=0xFFFFFFFF)))
        assert connection.next(RST_STREAM).stream == stream
        connection.serve_on()

    answer = meet(script, kind)
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED, answer
    assert "4294967295 vs. 4194304" in answer.details


@pytest.mark.parametrize(
    "dribble",
    [frame(HEADERS, 1, BEGUN), frame(HEADERS, 1, BEGUN, END_HEADERS), frame(HEADERS, 1, BEGUN, END_HEADERS)[:11]],
    ids=["half a header block", "a head", "half a frame"],
)
def test_who_dribbles_is_left_at_the_deadline(our_world, start, dribble):
    def script(connection, _):
        connection.greet()
        assert connection.request() == 1
        connection.send(dribble)
        connection.hung_up()

    client, other = our_world.connect(start(script).address), our_world.connect(our_world.serve(polite))
    call = client.begin("unary", asked("Ann"), timeout=1.0)
    assert other.call("unary", asked("Bob")).messages == ["Hello, Bob!"]
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_socket_that_is_half_closed_ends_its_calls(meet, counters):
    def script(connection, stream):
        connection.head(stream)
        connection.socket.shutdown(socket.SHUT_WR)
        connection.hung_up()

    assert meet(script).code is grpc.StatusCode.UNAVAILABLE
    assert counters()["given_up"] == 0
