"""Servers that take streams back, leave, limit or ping: our client sends again what it may, waits, and answers."""

from __future__ import annotations

import struct
import threading
import time

import grpc
import pytest

from tests.rpc import frames
from tests.rpc.frames import GOAWAY, PING, RST_STREAM, answering, frame
from tests.rpc.script import PATIENCE, request


def goaway(last, code=0):
    return frame(GOAWAY, body=struct.pack(">II", last, code))


def reset(stream, code):
    return frame(RST_STREAM, stream, struct.pack(">I", code))


# ---- resets and GOAWAY


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (0x0, "INTERNAL"),
        (0x1, "INTERNAL"),
        (frames.INTERNAL, "INTERNAL"),
        (frames.CANCEL, "CANCELLED"),
        (frames.CALM, "RESOURCE_EXHAUSTED"),
        (0xC, "PERMISSION_DENIED"),
    ],
)
@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_a_reset_becomes_the_code_of_its_reason(ask, kind, reason, code):
    """As grpc/doc/PROTOCOL-HTTP2.md ("Errors") says."""
    answer = ask(answering(lambda connection, stream: connection.send(reset(stream, reason))), kind)
    assert answer.code.name == code


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_a_refused_stream_is_sent_once_more(ask, kind):
    seen = []

    def refuse_first(connection, stream):
        seen.append(stream)
        if len(seen) == 1:
            connection.send(reset(stream, frames.REFUSED))
        else:
            connection.reply(stream)

    answer = ask(answering(refuse_first), kind)
    assert (answer.code.name, answer.messages, len(seen)) == ("OK", ["hi"], 2)


def test_a_stream_that_is_always_refused_is_not_sent_for_ever(ask):
    seen = []

    def refuse(connection, stream):
        seen.append(stream)
        connection.send(reset(stream, frames.REFUSED))

    assert ask(answering(refuse)).code is grpc.StatusCode.UNAVAILABLE
    assert len(seen) == 2


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_a_call_that_a_leaving_server_did_not_take_is_sent_to_the_next(ask, kind):
    def leave(connection, number):
        connection.greet()
        stream = connection.request()
        if number == 1:
            connection.send(goaway(0))
            connection.request()  # the client hangs up
        else:
            connection.reply(stream)
            connection.serve_on()

    answer = ask(leave, kind)
    assert (answer.code.name, answer.messages) == ("OK", ["hi"])


@pytest.mark.parametrize("heard_first", [False, True], ids=["with the answer", "before the answer"])
def test_a_call_that_a_leaving_server_took_is_finished_and_the_next_goes_elsewhere(our_world, start, heard_first):
    def leave(connection, _):
        connection.greet()
        stream = connection.request()
        connection.send(goaway(stream))
        if heard_first:
            connection.send(frame(PING, body=b"heard it"))
            assert connection.next(PING).flags & frames.ACK
        connection.reply(stream)
        connection.request()

    server = start(leave)
    client = our_world.connect(server.address)
    for round_trip in range(1, 4):
        answer = client.call("unary", request())
        assert (answer.code.name, answer.messages, server.accepted) == ("OK", ["hi"], round_trip)


def test_a_goaway_with_an_error_does_not_hang_the_calls_that_were_taken(ask):
    def leave(connection, _):
        connection.greet()
        stream = connection.request()
        connection.send(goaway(stream, frames.CALM))
        connection.close()

    assert ask(leave).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_of_many_calls_a_goaway_sends_on_only_those_it_did_not_take(our_world, start):
    """Streams 1 and 3 are taken and answered; 5, 7 and 9 go to the next connection."""
    all_there = threading.Event()

    def leave(connection, number):
        connection.greet()
        if number > 1:
            connection.serve_on()
            return
        streams = sorted(connection.request() for _ in range(5))  # they may end in another order
        all_there.set()
        connection.send(goaway(streams[1]))
        connection.reply(streams[0])
        connection.reply(streams[1])
        connection.request()

    server = start(leave)
    client = our_world.connect(server.address)
    calls = [client.begin("server_stream", request(str(i))) for i in range(5)]
    assert all_there.wait(PATIENCE)
    assert [call.read().message for call in calls] == ["hi"] * 5
    assert server.accepted == 2


# ---- limits and pings


def test_calls_beyond_the_servers_limit_of_streams_wait_and_are_answered(our_world, start):
    together, most = [], []

    def one_at_a_time(connection, _):
        connection.greet(struct.pack(">HI", 0x3, 1))
        while (stream := connection.request()) is not None:
            together.append(stream)
            most.append(len(together))
            connection.reply(stream)
            together.remove(stream)

    client = our_world.connect(start(one_at_a_time).address, [("grpc.max_connections_per_subchannel_cap", 1)])
    assert client.call("unary", request()).messages == ["hi"]  # the limit is known from here on
    calls = [client.begin("server_stream", request(str(i))) for i in range(10)]
    for call in calls:
        assert call.read().message == "hi"
        assert call.read() is None
    assert set(most) == {1}


@pytest.mark.parametrize("idle", [False, True], ids=["during a call", "between calls"])
def test_a_ping_of_the_server_is_answered(our_world, start, idle):
    answered = threading.Event()

    def ping(connection, _):
        connection.greet()
        stream = connection.request()
        if idle:
            connection.reply(stream)
        connection.send(frame(PING, body=b"are you?"))
        answer = connection.next(PING)
        if answer is not None and answer.flags & frames.ACK and answer.body == b"are you?":
            answered.set()
        if not idle:
            connection.reply(stream)
        connection.request()

    client = our_world.connect(start(ping).address)
    assert client.call("unary", request()).messages == ["hi"]
    assert answered.wait(PATIENCE)


def test_a_server_that_opens_no_window_is_left_at_the_deadline(ask):
    """The request never gets out; the call ends all the same."""

    def closed(connection, _):
        connection.greet(struct.pack(">HI", 0x4, 0))
        connection.request()

    began = time.monotonic()
    assert ask(closed, timeout=0.3).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < PATIENCE / 2
