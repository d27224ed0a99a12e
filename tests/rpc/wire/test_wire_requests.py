"""Clients that speak HTTP/2 but no proper gRPC, and clients that take it back: our server answers, and serves on."""

from __future__ import annotations

import contextlib
import struct
import threading

import pytest

from examples.hello.hello_pb2 import HelloRequest
from tests.rpc import frames
from tests.rpc.frames import END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame, message
from tests.rpc.peers import ours_only
from tests.rpc.script import PATIENCE, READ, greet, stay_until_over

HELLO = HelloRequest(name="Ann").SerializeToString()
OK, INVALID = "0", {"3", "12", "13"}  # what a server may call a request that makes no sense


def status(answer):
    assert answer is not None, "the connection ended without an answer"
    assert "reset" not in answer, answer
    return answer["grpc-status"]


OTHERS = [
    "text/html",
    "application/json",
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpcx",
    None,
]


@pytest.mark.parametrize("content_type", OTHERS, ids=str)
def test_another_content_is_unsupported_media(raw, content_type):
    raw.call(b"{}", headers=frames.request_headers(content_type=content_type))
    assert raw.answer()[":status"] == "415"


@pytest.mark.parametrize(
    "said", [{"content_type": "application/grpc+" + "é" * 1900}, {"extra": ("grpc-encoding", "é" * 1900)}], ids=list
)
def test_what_is_refused_is_not_repeated_at_length(raw, said):
    """By HPACK it is a byte from the second time on; escaped it would be three times as long."""
    extra = [said.pop("extra")] if "extra" in said else []
    raw.call(b"{}", headers=frames.request_headers("/hello.Greeter/SayHello", *extra, **said))
    answer = raw.answer()
    assert status(answer) in INVALID
    assert len(answer.get("grpc-message", "")) < 1000


@pytest.mark.parametrize("codec", ["+json", "+thrift", "+json;charset=utf-8"])
def test_another_codec_is_unimplemented_and_named(raw, codec):
    raw.call(b"{}", headers=frames.request_headers(content_type=f"application/grpc{codec}"))
    answer = raw.answer()
    assert (answer[":status"], status(answer)) == ("200", "12")
    assert f"application/grpc{codec}" in answer["grpc-message"]


@pytest.mark.parametrize("codec", ["", "+proto", "+PROTO", ";charset=utf-8", "+proto;a=b", " ; x=y"])
def test_protobuf_by_all_its_names_is_served(raw, codec):
    raw.call(message(HELLO), headers=frames.request_headers(content_type=f"application/grpc{codec}"))
    assert status(raw.answer()) == OK


@pytest.mark.parametrize("method", ["GET", "PUT", "post", "DELETE"])
def test_another_method_of_http_than_post_is_not_allowed(raw, method):
    raw.call(message(HELLO), headers=frames.request_headers(method=method))
    answer = raw.answer()
    assert (answer[":status"], answer["allow"]) == ("405", "POST")


def test_a_compressed_message_is_refused_by_its_flag(raw):
    raw.call(message(HELLO, flag=1))
    assert status(raw.answer()) in {"12", "13"}


def test_a_message_with_unknown_flags_is_internal(raw):
    raw.call(message(HELLO, flag=0x80))
    assert status(raw.answer()) == "13"


@pytest.mark.parametrize("path", ["/hello.Greeter/SayHello", "/hello.Greeter/Chat"])
@pytest.mark.parametrize("cut", [1, 4, 5, 7])
def test_a_message_that_ends_too_early_is_an_error_and_answered(raw, path, cut):
    raw.call(message(HELLO)[:cut], headers=frames.request_headers(path))
    assert status(raw.answer()) in INVALID


@pytest.mark.parametrize("path", ["/hello.Greeter/SayHello", "/hello.Greeter/Chat"])
def test_a_length_over_the_limit_is_resource_exhausted_before_its_bytes_come(raw, path):
    raw.call(message(b"", length=0xFFFFFFFF), headers=frames.request_headers(path), end=False)
    assert status(raw.answer()) == "8"


def test_a_unary_request_without_a_message_is_an_error(raw):
    raw.call(b"")
    assert status(raw.answer()) in INVALID


def test_a_unary_request_of_headers_alone_is_an_error(raw):
    raw.send(raw.headers(1, frames.request_headers(), END_HEADERS | END_STREAM))
    assert status(raw.answer()) in INVALID


def test_a_unary_request_of_two_messages_is_answered_one_way_or_the_other(raw):
    raw.call(message(HELLO), message(HELLO))
    assert status(raw.answer()) in {OK, *INVALID}


def test_a_unary_request_of_three_messages_is_answered_one_way_or_the_other(raw):
    raw.call(message(HELLO), message(HELLO), message(HELLO))
    assert status(raw.answer()) in {OK, *INVALID}


@pytest.mark.parametrize("path", ["/", "/hello.Greeter", "/hello.Greeter/", "/hello.Greeter/SayHello/x", "/%00/%ff"])
def test_a_path_that_names_no_method_is_unimplemented(raw, path):
    raw.call(message(HELLO), headers=frames.request_headers(path))
    assert status(raw.answer()) == "12"


@pytest.mark.parametrize("timeout", ["", "1", "soon", "-1S", "123456789S", "1.5S"])
def test_a_time_out_that_makes_no_sense_is_no_deadline(raw, timeout):
    raw.call(message(HELLO), headers=frames.request_headers("/hello.Greeter/SayHello", ("grpc-timeout", timeout)))
    assert status(raw.answer()) in {OK, *INVALID}


def test_a_request_that_never_ends_is_ended_by_its_deadline(raw):
    headers = frames.request_headers("/hello.Greeter/SayHello", ("grpc-timeout", "100m"))
    raw.call(message(HELLO), headers=headers, end=False)
    answer = raw.answer()
    assert answer is not None
    assert answer.get("grpc-status") == "4" or "reset" in answer


def test_headers_beyond_the_limit_are_refused(raw):
    headers = frames.request_headers("/hello.Greeter/SayHello", *[("x-big", "b" * 8000)] * 40)
    block = raw._encoder.encode(headers, huffman=False)
    pieces = [block[i : i + 16000] for i in range(0, len(block), 16000)] or [b""]
    flags = [END_HEADERS if i == len(pieces) - 1 else 0 for i in range(len(pieces))]
    with contextlib.suppress(OSError):  # the server may hang up before it has heard it all
        raw.send(frame(HEADERS, 1, pieces[0], flags[0]))
        raw.send(*[frame(frames.CONTINUATION, 1, *rest) for rest in zip(pieces[1:], flags[1:], strict=True)])
        raw.send(frame(frames.DATA, 1, message(HELLO), END_STREAM))
    answer = raw.answer()
    assert answer is None or answer.get(":status") == "431" or "reset" in answer or answer.get("grpc-status") == "8"


def test_binary_metadata_that_is_no_base64_does_not_reach_the_handler(our_world, dial):
    seen = []

    def look():
        seen.extend(ours_only((yield lambda context: context.invocation_metadata())))
        yield greet((yield READ))

    raw = dial(our_world.serve(look))
    extra = [("x-bad-bin", "*** no base64 ***"), ("x-good-bin", "AAE="), ("x-bare-bin", "AAE")]
    raw.call(message(HELLO), headers=frames.request_headers("/hello.Greeter/SayHello", *extra))
    assert status(raw.answer()) == OK
    assert sorted(seen) == [("x-bare-bin", b"\0\1"), ("x-good-bin", b"\0\1")]
    raw.close()


# ---- resets


def test_a_reset_ends_the_handler(our_world, dial):
    arrived, over = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    raw = dial(our_world.serve(stay))
    raw.call(message(HELLO), headers=frames.request_headers("/hello.Greeter/Chat"), end=False)
    assert arrived.wait(PATIENCE)
    raw.send(frame(RST_STREAM, 1, struct.pack(">I", frames.CANCEL)))
    assert over.wait(PATIENCE)
    raw.close()


def test_a_storm_of_resets_leaves_the_server_serving(server, dial):
    raw = dial(server)
    for stream in range(1, 4001, 2):
        try:
            raw.send(
                raw.headers(stream, frames.request_headers()),
                frame(RST_STREAM, stream, struct.pack(">I", frames.CANCEL)),
            )
        except OSError:
            break  # the server has had enough of it, which is its right
    raw.close()
