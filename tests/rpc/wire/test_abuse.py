"""Clients that flood: our server tells them to calm down, counts what they did, and serves the others."""

from __future__ import annotations

import contextlib
import struct

import pytest

from examples.hello.hello_pb2 import HelloRequest
from tests.rpc import frames
from tests.rpc.frames import CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame, message
from tests.rpc.script import polite, request

HELLO = HelloRequest(name="Ann").SerializeToString()


def rapid_resets(raw):
    for stream in range(1, 4001, 2):
        cancel = frame(RST_STREAM, stream, struct.pack(">I", frames.CANCEL))
        # Never whole, so that nothing can be answered before the reset.
        yield raw.headers(stream, frames.request_headers()) + cancel


def pings(_):
    yield from [frame(PING, body=b"12345678")] * 1000


def settings(_):
    yield from [frame(SETTINGS)] * 1000


def empty_data(raw):
    yield raw.headers(1, frames.request_headers())
    yield from [frame(DATA, 1)] * 5000


def a_header_block_without_end(raw):
    yield frame(HEADERS, 1, raw.headers(1, frames.request_headers())[9:])
    yield from [frame(CONTINUATION, 1, b"\0\1x\1y" * 3000)] * 100


@pytest.mark.parametrize(
    ("flood", "counted", "least"),
    [
        (rapid_resets, "reset_early", 1000),
        (pings, "ping_strikes", 3),
        (settings, "settings", 100),
        (empty_data, "empty_frames", 1000),
        (a_header_block_without_end, "given_up", 1),
    ],
)
def test_a_flood_is_told_to_calm_down(our_world, dial, flood, counted, least):
    server, port = our_world.start_server(polite)
    address = f"127.0.0.1:{port}"
    raw = dial(address)
    with contextlib.suppress(OSError):  # the server has had enough of it and has hung up
        for piece in flood(raw):
            raw.send(piece)
    with contextlib.suppress(OSError):  # bytes that nobody read may take the server's last words with them
        goaway = raw.next(GOAWAY)
        assert goaway is None or goaway.body[4:8] == struct.pack(">I", frames.CALM)
    assert our_world.connect(address).call("unary", request("Ann")).messages == ["Hello, Ann!"]
    counters = server._reactor.counters()
    assert counters[counted] >= least
    assert counters["given_up"] == 1


def test_peace_is_counted_as_peace(our_world):
    server, port = our_world.start_server(polite)
    client = our_world.connect(f"127.0.0.1:{port}")
    for _ in range(20):
        assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    counters = server._reactor.counters()
    assert counters.pop("opened") == 20
    assert counters.pop("settings") == 1
    assert set(counters.values()) == {0}


@pytest.mark.parametrize("end", [False, True], ids=["half-closed", "closed"])
def test_a_client_that_leaves_in_the_middle_holds_nobody_up(our_world, dial, end):
    server, port = our_world.start_server(polite)
    raw = dial(f"127.0.0.1:{port}")
    raw.send(raw.headers(1, frames.request_headers()), frame(DATA, 1, message(HELLO)[:7], 0 if end else END_STREAM))
    raw.close()
    assert our_world.connect(f"127.0.0.1:{port}").call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert server._reactor.counters()["given_up"] == 0
