"""Clients that misbehave on the wire: our server tells them so and goes on serving the others."""

from __future__ import annotations

import struct

import pytest

from examples.hello.hello_pb2 import HelloRequest
from tests.rpc import frames
from tests.rpc.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    frame,
    message,
)

HELLO = HelloRequest(name="Ann").SerializeToString()
OK, INVALID = "0", {"3", "12", "13"}  # what a server may call a request that makes no sense


def status(answer):
    assert answer is not None, "the connection ended without an answer"
    assert "reset" not in answer, answer
    return answer["grpc-status"]


# ---- what is allowed


def test_a_call_by_hand_is_answered(raw):
    raw.call(message(HELLO))
    assert status(raw.answer()) == OK


def test_a_request_may_come_byte_by_byte(server, dial):
    raw = dial(server, greet=False)
    whole = PREFACE + frame(frames.SETTINGS) + raw.headers(1, frames.request_headers())
    for byte in whole + frame(DATA, 1, message(HELLO), END_STREAM):
        raw.send(bytes([byte]))
    assert status(raw.answer()) == OK
    raw.close()


def test_a_message_may_be_cut_into_many_frames(raw):
    raw.send(raw.headers(1, frames.request_headers()))
    raw.send(*[frame(DATA, 1, bytes([byte])) for byte in message(HELLO)], frame(DATA, 1, b"", END_STREAM))
    assert status(raw.answer()) == OK


def test_frames_of_unknown_kind_are_ignored(raw):
    raw.send(frame(0x42, 0, b"what is this"), frame(0xFF, 1, b"?"))
    raw.call(message(HELLO))
    assert status(raw.answer()) == OK


def test_a_ping_is_answered(raw):
    raw.send(frame(PING, body=b"12345678"))
    answer = raw.next(PING)
    assert (answer.flags, answer.body) == (frames.ACK, b"12345678")


@pytest.mark.parametrize(
    "content_type", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"]
)
def test_kinds_of_grpc_content_are_served(raw, content_type):
    raw.call(message(HELLO), headers=frames.request_headers(content_type=content_type))
    assert status(raw.answer()) == OK


# ---- not HTTP/2


@pytest.mark.parametrize(
    "said",
    [
        b"\0" * 64,
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 60,
        PREFACE[::-1],
    ],
    ids=["zeros", "HTTP/1.1", "a TLS hello", "the preface backwards"],
)
def test_who_does_not_speak_http2_is_hung_up_on(server, dial, said):
    raw = dial(server, greet=False)
    raw.send(said)
    assert raw.hung_up()
    raw.close()


@pytest.mark.parametrize("length", [0, 1, len(PREFACE) - 1, len(PREFACE), len(PREFACE) + 4])
def test_who_leaves_within_the_preface_is_forgotten(server, dial, length):
    raw = dial(server, greet=False)
    raw.send((PREFACE + frame(frames.SETTINGS))[:length])
    raw.close()


def test_who_says_nothing_holds_nobody_up(server, dial):
    silent = [dial(server, greet=False) for _ in range(20)]
    raw = dial(server)
    raw.call(message(HELLO))
    assert status(raw.answer()) == OK
    assert len(silent) == 20


@pytest.mark.parametrize(
    "broken",
    [
        frame(DATA, 0, b"data without a stream"),
        frame(HEADERS, 0, b"", END_HEADERS),
        frame(HEADERS, 2, b"\x82", END_HEADERS),
        frame(HEADERS, 1, b"\xff\xff\xff\xff\xff\xff", END_HEADERS),
        frame(frames.SETTINGS, 0, b"12345"),
        frame(frames.SETTINGS, 1, b""),
        frame(PING, 0, b"short"),
        frame(frames.WINDOW_UPDATE, 0, struct.pack(">I", 0)),
        frame(frames.WINDOW_UPDATE, 0, struct.pack(">I", 0x7FFFFFFF)),
        frame(frames.CONTINUATION, 1, b"", END_HEADERS),
        frame(frames.PUSH_PROMISE, 1, b"\0\0\0\2", END_HEADERS),
        frame(RST_STREAM, 7, struct.pack(">I", 8)),
        struct.pack(">I", 0xFFFFFF)[1:] + bytes([DATA, 0, 0, 0, 0, 1]),
    ],
    ids=[
        "data on stream 0",
        "headers on stream 0",
        "a stream of even number",
        "a header block that is none",
        "settings of odd length",
        "settings on a stream",
        "a short ping",
        "a window grown by nothing",
        "a window grown beyond all bounds",
        "a continuation of nothing",
        "a promise from a client",
        "a reset of a stream that was never opened",
        "a frame of 16 MiB",
    ],
)
def test_who_breaks_http2_is_told_to_go_away(raw, broken):
    raw.send(broken)
    assert raw.told_to_go()


def test_who_was_told_to_go_away_is_hung_up_on(raw):
    """Else whoever breaks the protocol keeps a descriptor of the server for as long as it likes."""
    raw.send(frame(DATA, 0, b"data without a stream"))
    assert raw.hung_up()
