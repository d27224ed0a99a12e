"""Servers that misbehave on the wire: our client says what happened, retries what may be retried, and never hangs."""

from __future__ import annotations

import threading

import grpc
import pytest

from tests.rpc.frames import DATA, END_HEADERS, END_STREAM, answering, frame, message
from tests.rpc.peers import KINDS

GOOD = b"\n\x02hi"


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_answered_by_hand_succeeds(ask, kind):
    answer = ask(answering(lambda connection, stream: connection.reply(stream)), kind)
    assert (answer.code.name, answer.messages) == ("OK", ["hi"])


# ---- no HTTP/2, no connection


@pytest.mark.parametrize(
    "said",
    [b"", b"\0" * 64, b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"],
    ids=["nothing", "zeros", "HTTP/1.1", "SSH"],
)
@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_a_peer_that_does_not_speak_http2_is_unavailable(ask, kind, said):
    def speak(connection, _):
        connection.send(said)
        connection.socket.recv(1)
        connection.close()

    assert ask(speak, kind).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_ends_under_a_call_is_unavailable(ask, kind):
    def leave(connection, _):
        connection.greet()
        connection.request()
        connection.close()

    assert ask(leave, kind).code is grpc.StatusCode.UNAVAILABLE


def test_a_connection_that_ends_within_an_answer_is_unavailable(ask):
    def leave(connection, _):
        connection.greet()
        stream = connection.request()
        connection.head(stream)
        connection.send(frame(DATA, stream, message(GOOD)))
        connection.close()

    assert ask(leave).code is grpc.StatusCode.UNAVAILABLE


def test_a_peer_that_never_answers_is_left_at_the_deadline(ask):
    assert ask(answering(lambda *_: None), timeout=0.3).code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_peer_that_takes_the_connection_and_is_silent_is_left_at_the_deadline(ask):
    answer = ask(lambda *_: threading.Event().wait(5), timeout=0.3)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED


# ---- HTTP, but not gRPC


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("200", "UNKNOWN"),
        ("400", "INTERNAL"),
        ("401", "UNAUTHENTICATED"),
        ("403", "PERMISSION_DENIED"),
        ("404", "UNIMPLEMENTED"),
        ("429", "UNAVAILABLE"),
        ("418", "UNKNOWN"),
        ("500", "UNKNOWN"),
        ("502", "UNAVAILABLE"),
        ("503", "UNAVAILABLE"),
        ("504", "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>no such page</html>"], ids=["empty", "a page"])
def test_an_http_answer_without_grpc_becomes_the_code_of_its_status(ask, status, code, body):
    """As grpc/doc/http-grpc-status-mapping.md says."""

    def page(connection, stream):
        if body:
            connection.head(stream, status, content_type="text/html")
            connection.send(frame(DATA, stream, body, END_STREAM))
        else:
            connection.head(stream, status, content_type="text/html", flags=END_HEADERS | END_STREAM)

    answer = ask(answering(page))
    assert answer.code.name == code
    assert status in answer.details


def test_an_answer_without_trailers_is_no_success(ask):
    def stop(connection, stream):
        connection.head(stream)
        connection.send(frame(DATA, stream, message(GOOD), END_STREAM))

    assert ask(answering(stop)).code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}


def test_trailers_without_a_status_are_no_success(ask):
    def stop(connection, stream):
        connection.head(stream)
        connection.send(frame(DATA, stream, message(GOOD)))
        connection.trailers(stream, None, ("x-end", "1"))

    assert ask(answering(stop)).code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}


@pytest.mark.parametrize("status", ["17", "-1", "", "one", "4294967296"])
def test_a_status_that_grpc_does_not_know_is_unknown(ask, status):
    def answer(connection, stream):
        connection.head(stream)
        connection.trailers(stream, status)

    assert ask(answering(answer)).code is grpc.StatusCode.UNKNOWN


def test_details_with_broken_escapes_are_shown_as_they_are(ask):
    def answer(connection, stream):
        connection.head(
            stream, "200", ("grpc-status", "5"), ("grpc-message", "100%, %zz %C3%BC"), flags=END_HEADERS | END_STREAM
        )

    answered = ask(answering(answer))
    assert (answered.code, answered.details) == (grpc.StatusCode.NOT_FOUND, "100%, %zz ü")


# ---- messages


def with_body(*body, status="0"):
    def answer(connection, stream):
        connection.head(stream)
        connection.send(*[frame(DATA, stream, piece) for piece in body])
        connection.trailers(stream, status)

    return answering(answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compressed_message_that_was_not_asked_for_is_refused(ask, kind):
    answer = ask(with_body(message(GOOD, flag=1)), kind)
    assert answer.code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}
    assert answer.replies == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_with_unknown_flags_is_internal(ask, kind):
    assert ask(with_body(message(GOOD, flag=0x40)), kind).code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [1, 5, 7])
def test_a_message_that_is_cut_off_is_no_success(ask, kind, cut):
    answer = ask(with_body(message(GOOD)[:cut]), kind)
    assert answer.code is grpc.StatusCode.INTERNAL
    assert answer.replies == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_length_over_the_limit_is_resource_exhausted_before_its_bytes_come(ask, kind):
    def announce(connection, stream):
        connection.head(stream)
        connection.send(frame(DATA, stream, message(b"", length=0xFFFFFFFF)))

    assert ask(answering(announce), kind).code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("count", [0, 2, 3])
@pytest.mark.parametrize("kind", ["unary", "client_stream"])
def test_a_success_of_a_single_answer_needs_exactly_one_message(ask, kind, count):
    answer = ask(with_body(*[message(GOOD)] * count), kind)
    assert answer.code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL}


def test_messages_may_be_cut_into_frames_anywhere(ask):
    whole = message(b"\n\x03one") + message(b"") + message(b"\n\x05three")
    answer = ask(with_body(*[bytes([byte]) for byte in whole]), "server_stream")
    assert (answer.code.name, answer.messages) == ("OK", ["one", "", "three"])


def test_frames_of_unknown_kind_are_ignored(ask):
    def answer(connection, stream):
        connection.send(frame(0x42, 0, b"what"), frame(0xFE, stream, b"is this"))
        connection.reply(stream)

    assert ask(answering(answer)).messages == ["hi"]
