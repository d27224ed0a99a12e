"""Compression by hand: unknown encodings, wrong flags, rubbish, bombs. The rules: grpc/doc/compression.md."""

from __future__ import annotations

import gzip
import zlib

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.frames import DATA, END_STREAM, answering, frame, message, request_headers
from tests.rpc.peers import KINDS
from tests.rpc.script import request

HELLO = b"\n\x03Ann"
REPLY = b"\n\x02hi"
PATHS = {"unary": "/hello.Greeter/SayHello", "bidi": "/hello.Greeter/Chat"}
BOMB = gzip.compress(bytes(30 << 20))  # some 30 KiB: what may be sent ahead to a server that said nothing yet


def asking(encoding, kind="unary"):
    return request_headers(PATHS[kind], ("grpc-encoding", encoding))


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_request_is_understood(raw, kind, encoding, compress):
    raw.call(message(compress(HELLO), flag=1), headers=asking(encoding, kind))
    assert raw.answer()["grpc-status"] == "0"


def test_a_request_may_name_an_encoding_and_not_use_it(raw):
    raw.call(message(HELLO), headers=asking("gzip"))
    assert raw.answer()["grpc-status"] == "0"


@pytest.mark.parametrize("kind", PATHS)
def test_an_unknown_encoding_is_unimplemented_and_told_what_is_accepted(raw, kind):
    raw.call(message(b"?", flag=1), headers=asking("snappy", kind))
    answer = raw.answer()
    assert answer["grpc-status"] == "12"
    assert answer["grpc-accept-encoding"] == "identity, deflate, gzip"
    assert "snappy" in answer["grpc-message"]


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("headers", [None, "identity"])
def test_a_flag_without_an_encoding_is_internal(raw, kind, headers):
    raw.call(message(gzip.compress(HELLO), flag=1), headers=asking(headers, kind) if headers else None)
    assert raw.answer()["grpc-status"] == "13"


@pytest.mark.parametrize("body", [b"rubbish", gzip.compress(HELLO)[:-3], b""], ids=["rubbish", "cut off", "empty"])
def test_what_is_not_compressed_as_it_says_is_internal(raw, body):
    raw.call(message(body, flag=1), headers=asking("gzip"))
    assert raw.answer()["grpc-status"] == "13"


@pytest.mark.parametrize("kind", PATHS)
def test_a_bomb_is_resource_exhausted(raw, kind):
    raw.send(raw.headers(1, asking("gzip", kind)))
    for at in range(0, len(BOMB) + 5, 16384):
        raw.send(frame(DATA, 1, message(BOMB, flag=1)[at : at + 16384]))
    raw.send(frame(DATA, 1, b"", END_STREAM))
    answer = raw.answer()
    assert answer.get("grpc-status") == "8", answer


def compressed_answer(encoding, body):
    def answer(connection, stream):
        connection.head(stream, "200", *([("grpc-encoding", encoding)] if encoding else []))
        connection.send(frame(DATA, stream, message(body, flag=1)))
        connection.trailers(stream)

    return answering(answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_reply_is_understood(ask, kind, encoding, compress):
    assert ask(compressed_answer(encoding, compress(REPLY)), kind).messages == ["hi"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("encoding", "body"),
    [("snappy", b"?"), (None, gzip.compress(REPLY)), ("gzip", b"rubbish")],
    ids=["unknown", "unsaid", "rubbish"],  # bytes that gzip made would put the time of day into a name
)
def test_a_reply_that_cannot_be_decompressed_is_internal(ask, kind, encoding, body):
    answer = ask(compressed_answer(encoding, body), kind)
    assert (answer.code, answer.replies) == (grpc.StatusCode.INTERNAL, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_of_a_server_is_resource_exhausted(ask, kind):
    assert ask(compressed_answer("gzip", BOMB[: 16384 - 5]), kind).code in {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    }


def test_what_a_client_sends_names_what_it_takes(our_world, start):
    seen = []

    def look(connection, _):
        connection.greet()
        for got in connection.frames():
            if got.kind == 1:
                seen.append(connection.decode(got.body))
            if got.flags & END_STREAM and got.kind in {0, 1}:
                connection.reply(got.stream)

    client = our_world.connect(start(look).address)
    assert client.call("unary", request(), compression=grpc.Compression.Gzip).messages == ["hi"]
    assert client.call("unary", request()).messages == ["hi"]
    assert [head.get("grpc-encoding") for head in seen] == ["gzip", None]
    assert {head["grpc-accept-encoding"] for head in seen} == {"identity, deflate, gzip"}


def test_a_client_that_takes_no_compression_gets_none(our_world, dial):
    def zeros():
        yield HelloReply(payload=bytes(1000))

    raw = dial(our_world.serve(zeros, compression=grpc.Compression.Gzip))
    raw.call(message(HELLO))
    got = raw.next(DATA)
    assert got.body[0] == 0
    assert len(got.body) > 1000
