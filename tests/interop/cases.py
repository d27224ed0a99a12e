"""gRPC's interop cases (grpc/doc/interop-test-descriptions.md), from the client's end; each takes a caller.

A case asserts what its description asks for. Left out are those about Google's credentials and load balancers.
"""

from __future__ import annotations

import contextlib

import grpc
import pytest

from tests.interop.testing_pb2 import (
    BoolValue,
    EchoStatus,
    Empty,
    Payload,
    ResponseParameters,
    SimpleRequest,
    StreamingInputCallRequest,
    StreamingOutputCallRequest,
)

ECHO_INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
ECHO_TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
ECHOED = (ECHO_INITIAL, ECHO_TRAILING)
LARGE_REQUEST, LARGE_RESPONSE = 271828, 314159
REQUESTS, RESPONSES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
UNIMPLEMENTED = 1  # which stub of a caller
GZIP = grpc.Compression.Gzip
OK = grpc.StatusCode.OK

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def zeros(size):
    return Payload(body=bytes(size))


def large(**fields):
    return SimpleRequest(response_size=LARGE_RESPONSE, payload=zeros(LARGE_REQUEST), **fields)


def is_large(answer):
    assert (answer.code, answer.details) == (OK, "")
    assert [reply.payload.body for reply in answer.replies] == [bytes(LARGE_RESPONSE)]


def asking(*sizes, **fields):
    parameters = [ResponseParameters(size=size) for size in sizes]
    return StreamingOutputCallRequest(response_parameters=parameters, **fields)


def sizes_of(answer):
    assert (answer.code, answer.details) == (OK, "")
    return tuple(len(reply.payload.body) for reply in answer.replies)


@case
def empty_unary(caller):
    answer = caller.call("EmptyCall", Empty())
    assert (answer.code, answer.replies) == (OK, [Empty()])


@case
def large_unary(caller):
    is_large(caller.call("UnaryCall", large()))


@case
def client_streaming(caller):
    answer = caller.call("StreamingInputCall", *(StreamingInputCallRequest(payload=zeros(size)) for size in REQUESTS))
    assert (answer.code, answer.replies[0].aggregated_payload_size) == (OK, sum(REQUESTS))


@case
def server_streaming(caller):
    assert sizes_of(caller.call("StreamingOutputCall", asking(*RESPONSES))) == RESPONSES


@case
def ping_pong(caller):
    call = caller.open("FullDuplexCall")
    for request, response in zip(REQUESTS, RESPONSES, strict=True):
        call.write(asking(response, payload=zeros(request)))
        assert len(call.read().payload.body) == response
    call.done_writing()
    assert call.read() is None
    assert call.code() is OK


@case
def empty_stream(caller):
    assert sizes_of(caller.call("FullDuplexCall")) == ()


@case
def timeout_on_sleeping_server(caller):
    call = caller.open("FullDuplexCall", timeout=0.001)
    with contextlib.suppress(grpc.RpcError):  # it may be late already
        call.write(StreamingOutputCallRequest(payload=zeros(27182)))
    with pytest.raises(grpc.RpcError):
        call.read()
    assert call.code() in caller.too_late


@case
def cancel_after_begin(caller):
    call = caller.open("StreamingInputCall")
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED


@case
def cancel_after_first_response(caller):
    call = caller.open("FullDuplexCall")
    call.write(asking(31415, payload=zeros(27182)))
    assert len(call.read().payload.body) == 31415
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED


@case
def custom_metadata(caller):
    unary = caller.call("UnaryCall", SimpleRequest(response_size=1, payload=zeros(1)), metadata=ECHOED)
    assert unary.code is OK
    assert ECHO_INITIAL in tuple(unary.initial)
    assert ECHO_TRAILING in tuple(unary.trailing)

    call = caller.open("FullDuplexCall", metadata=ECHOED)
    call.write(asking(1, payload=zeros(1)))
    assert ECHO_INITIAL in tuple(call.initial())
    assert len(call.read().payload.body) == 1
    call.done_writing()
    assert call.read() is None
    assert ECHO_TRAILING in tuple(call.trailing())


@case
def status_code_and_message(caller):
    _answers_status(caller, "test status message")


@case
def special_status_message(caller):
    _answers_status(caller, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")


def _answers_status(caller, message):
    status = EchoStatus(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    unary = caller.call("UnaryCall", SimpleRequest(response_status=status))
    assert (unary.code, unary.details) == (grpc.StatusCode.UNKNOWN, message)
    duplex = caller.call("FullDuplexCall", StreamingOutputCallRequest(response_status=status))
    assert (duplex.code, duplex.details) == (grpc.StatusCode.UNKNOWN, message)


@case
def unimplemented_method(caller):
    assert caller.call("UnimplementedCall", Empty()).code is grpc.StatusCode.UNIMPLEMENTED


@case
def unimplemented_service(caller):
    answer = caller.call("UnimplementedCall", Empty(), service=UNIMPLEMENTED)
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED


# ---- compression. Python's API compresses per call, not per message, so what a description sends uncompressed in a
# compressed stream goes compressed here. That it truly is compressed is what the server checks (`expect_compressed`),
# once it has shown by the probe that it looks.


def _server_looks(caller):
    probe = caller.call("UnaryCall", large(expect_compressed=BoolValue(value=True)))
    assert probe.code is grpc.StatusCode.INVALID_ARGUMENT, "the server does not check whether requests are compressed"


@case
def client_compressed_unary(caller):
    _server_looks(caller)
    is_large(caller.call("UnaryCall", large(expect_compressed=BoolValue(value=True)), compression=GZIP))
    is_large(caller.call("UnaryCall", large(expect_compressed=BoolValue(value=False))))


@case
def server_compressed_unary(caller):
    for compressed in (True, False):
        is_large(caller.call("UnaryCall", large(response_compressed=BoolValue(value=compressed))))


@case
def client_compressed_streaming(caller):
    _server_looks(caller)
    sizes = (27182, 45904)
    compressed = BoolValue(value=True)
    requests = [StreamingInputCallRequest(payload=zeros(size), expect_compressed=compressed) for size in sizes]
    refused = caller.call("StreamingInputCall", *requests)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    answer = caller.call("StreamingInputCall", *requests, compression=GZIP)
    assert (answer.code, answer.replies[0].aggregated_payload_size) == (OK, sum(sizes))


@case
def server_compressed_streaming(caller):
    parameters = [
        ResponseParameters(size=31415, compressed=BoolValue(value=True)),
        ResponseParameters(size=92653, compressed=BoolValue(value=False)),
    ]
    answer = caller.call("StreamingOutputCall", StreamingOutputCallRequest(response_parameters=parameters))
    assert sizes_of(answer) == (31415, 92653)
