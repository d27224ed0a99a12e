"""Streams between ends that are far apart: room is given back as messages are taken, and grows with the line.

`native/core/tests/long_line.rs` has the line; here is what Python's ends and options make of it.
"""

from __future__ import annotations

import struct

import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.frames import DATA, NO_KIND, PING, SETTINGS, WINDOW_UPDATE, frame, message, request_headers
from tests.rpc.script import READ, polite, request

WINDOW = 256 * 1024
PIECE = 64 * 1024
INITIAL_WINDOW_SIZE = 4
OURS = b"whose?.."
AHEAD = [("grpc.http2.lookahead_bytes", 1 << 20)]
STEADY = [("grpc.http2.bdp_probe", 0)]


def window_said(settings):
    return dict(struct.iter_unpack(">HI", settings.body))[INITIAL_WINDOW_SIZE]


def pieces(stream, count):
    """So many messages, in DATA frames."""
    whole = message(HelloReply(payload=bytes(PIECE)).SerializeToString())  # a request's bytes, too
    frames = b"".join(frame(DATA, stream, whole[at : at + 16384]) for at in range(0, len(whole), 16384))
    return frames * count


def pings_until_answered(peer):
    """How many of the other side's come before the answer to the test's own."""
    peer.send(frame(PING, 0, OURS))
    pings = 0
    while peer.next(PING).body != OURS:
        pings += 1
    return pings


def room_given(peer, stream):
    while (update := peer.next(WINDOW_UPDATE)).stream != stream:
        pass
    return int.from_bytes(update.body)


def taking(count):
    """Takes so many requests and answers no more than one."""

    def script():
        for _ in range(count):
            yield READ
        yield HelloReply()
        yield lambda context: context.cancel()

    return script


@pytest.mark.parametrize(("options", "window"), [([], WINDOW), (AHEAD, 1 << 20)])
def test_a_server_lets_so_much_be_sent_ahead(our_world, dial, options, window):
    assert window_said(dial(our_world.serve(polite, options)).next(SETTINGS)) == window


@pytest.mark.parametrize(("options", "window"), [([], WINDOW), (AHEAD, 1 << 20)])
def test_a_client_lets_so_much_be_sent_ahead(our_world, start, options, window):
    said = []

    def script(connection, _):
        connection.greet()
        said.append(window_said(connection.next(SETTINGS)))
        connection.serve_on()

    our_world.connect(start(script).address, options).call("unary", request())
    assert said == [window]


@pytest.mark.parametrize(("options", "pings"), [([], 1), (STEADY, 0)])
def test_a_server_measures_the_line_of_who_sends_much(our_world, dial, options, pings):
    client = dial(our_world.serve(polite, options))
    assert pings_until_answered(client) == 0
    client.send(client.headers(1, request_headers("/hello.Greeter/CollectHellos")), pieces(1, 2))
    assert pings_until_answered(client) == pings


def test_a_server_gives_room_back_as_requests_are_taken(our_world, dial):
    """Of three, one waits: half a window is free all the same."""
    client = dial(our_world.serve(taking(1)))
    assert pings_until_answered(client) == 0
    client.send(client.headers(1, request_headers("/hello.Greeter/Chat")), pieces(1, 3))
    assert room_given(client, 1) >= WINDOW // 2


@pytest.mark.parametrize(("options", "pings"), [([], 1), (STEADY, 0)])
def test_a_client_gives_room_back_as_messages_are_taken_and_measures_the_line(our_world, start, options, pings):
    heard = []

    def script(connection, _):
        connection.greet()
        stream = connection.request()
        connection.head(stream)
        connection.send(pieces(stream, 3), frame(PING, 0, OURS))
        for got in connection.frames():
            heard.append(got)
            updated = any(each.kind == WINDOW_UPDATE and each.stream == stream for each in heard)
            if updated and any(each.body == OURS for each in heard):
                break
        connection.trailers(stream)
        connection.next(NO_KIND)

    call = our_world.connect(start(script).address, options).begin("server_stream", request())
    for _ in range(3):
        assert call.read() is not None
    assert call.read() is None
    assert sum(got.kind == PING and got.body != OURS for got in heard) == pings
    assert all(int.from_bytes(got.body) >= WINDOW // 2 for got in heard if got.kind == WINDOW_UPDATE)
