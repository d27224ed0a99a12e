"""Compressed calls, on every pairing: what is asked for is what goes over the wire, and arrives as it was."""

from __future__ import annotations

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.peers import KINDS, STREAMS_REPLIES
from tests.rpc.proxy import Proxy
from tests.rpc.script import READ, greet, request

ZEROS = bytes(300_000)  # compresses to some 300 bytes
SMALL = 20_000  # what a call with compressed zeros carries at most, head and all
BOTH = [grpc.Compression.Gzip, grpc.Compression.Deflate]


@pytest.fixture
def proxied():
    """Put a counting proxy before an address."""
    proxies = []

    def proxy(address):
        proxies.append(Proxy(address))
        return proxies[-1]

    yield proxy
    for one in proxies:
        one.close()


def count_payload():
    total = 0
    while (asked := (yield READ)) is not None:
        total += len(asked.payload)
    yield HelloReply(message=str(total))


def answer_zeros():
    yield READ
    yield HelloReply(payload=ZEROS)


def zeros_by(step):
    def script():
        yield READ
        yield step
        yield HelloReply(payload=ZEROS)

    return script


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", BOTH, ids=lambda one: one.name)
def test_a_call_may_ask_for_compressed_requests(world, proxied, kind, compression):
    proxy = proxied(world.serve(count_payload))
    answer = world.connect(proxy.address).call(kind, request(payload=ZEROS), compression=compression)
    assert (answer.code.name, answer.messages) == ("OK", [str(len(ZEROS))])
    assert proxy.carried < SMALL


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_may_compress_all_requests(world, proxied, kind):
    proxy = proxied(world.serve(count_payload))
    answer = world.connect(proxy.address, compression=grpc.Compression.Gzip).call(kind, request(payload=ZEROS))
    assert (answer.code.name, answer.messages) == ("OK", [str(len(ZEROS))])
    assert proxy.carried < SMALL


def test_the_channel_option_of_the_same_name_compresses_too(world, proxied):
    proxy = proxied(world.serve(count_payload))
    options = [("grpc.default_compression_algorithm", int(grpc.Compression.Deflate))]
    assert world.connect(proxy.address, options).call("unary", request(payload=ZEROS)).code.name == "OK"
    assert proxy.carried < SMALL


def test_without_asking_nothing_is_compressed(world, proxied):
    proxy = proxied(world.serve(answer_zeros))
    answer = world.connect(proxy.address).call("unary", request(payload=ZEROS))
    assert answer.replies[0].payload == ZEROS
    assert proxy.carried > 2 * len(ZEROS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", BOTH, ids=lambda one: one.name)
def test_a_server_may_compress_all_responses(world, proxied, kind, compression):
    proxy = proxied(world.serve(answer_zeros, compression=compression))
    answer = world.connect(proxy.address).call(kind, request())
    assert [reply.payload for reply in answer.replies] == [ZEROS]
    assert proxy.carried < SMALL


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_may_compress_its_responses(world, proxied, kind):
    proxy = proxied(world.serve(zeros_by(lambda context: context.set_compression(grpc.Compression.Gzip))))
    answer = world.connect(proxy.address).call(kind, request())
    assert [reply.payload for reply in answer.replies] == [ZEROS]
    if (world.kind, world.server_make) == ("aio", "grpcio") and kind not in STREAMS_REPLIES:
        return  # there set_compression does nothing to a single response
    assert proxy.carried < SMALL


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_may_leave_one_message_alone(world, proxied, kind):
    def script():
        yield READ
        yield lambda context: context.disable_next_message_compression()
        yield HelloReply(payload=ZEROS)
        if kind in {"server_stream", "bidi"}:
            for _ in range(5):
                yield HelloReply(payload=ZEROS)

    proxy = proxied(world.serve(script, compression=grpc.Compression.Gzip))
    answer = world.connect(proxy.address).call(kind, request())
    assert all(reply.payload == ZEROS for reply in answer.replies)
    assert len(ZEROS) < proxy.carried < len(ZEROS) + SMALL


def test_messages_that_do_not_shrink_pass(world):
    answer = world.connect(world.serve(_polite), compression=grpc.Compression.Gzip).call(
        "bidi", *(request(name) for name in ("", "a", "bc"))
    )
    assert answer.messages == ["Hello, !", "Hello, a!", "Hello, bc!"]


def _polite():
    while (asked := (yield READ)) is not None:
        yield greet(asked)


LIMIT = [("grpc.max_receive_message_length", 10_000)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_is_too_large_once_decompressed_is_resource_exhausted(world, kind):
    client = world.connect(world.serve(count_payload, LIMIT), compression=grpc.Compression.Gzip)
    answer = client.call(kind, request(payload=ZEROS))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.call(kind, request(payload=b"x")).messages == ["1"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_is_too_large_once_decompressed_is_resource_exhausted(world, kind):
    client = world.connect(world.serve(answer_zeros, compression=grpc.Compression.Gzip), LIMIT)
    assert client.call(kind, request()).code is grpc.StatusCode.RESOURCE_EXHAUSTED
