"""Large messages, limits, and servers that are not there, on every pairing."""

from __future__ import annotations

import socket
import threading
import time

import grpc
import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.peers import KINDS
from tests.rpc.script import PATIENCE, READ, polite, request

LARGE = bytes(range(256)) * (3 * 4096)  # 3 MiB, below the 4 MiB that both accept by default
SMALL_LIMIT = [("grpc.max_receive_message_length", 1000)]
NO_LIMIT = [("grpc.max_receive_message_length", -1)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("kind", KINDS)
def test_three_mebibytes_go_both_ways(world, kind):
    answer = world.connect(world.serve(polite)).call(kind, request("big", payload=LARGE))
    assert answer.code.name == "OK"
    assert [reply.payload for reply in answer.replies] == [LARGE]


def test_many_large_messages_follow_each_other(world):
    messages = [request(str(i), payload=LARGE[: 1 << 20]) for i in range(8)]
    answer = world.connect(world.serve(polite)).call("bidi", *messages)
    assert answer.code.name == "OK"
    assert [len(reply.payload) for reply in answer.replies] == [1 << 20] * 8


def test_a_message_over_the_default_limit_passes_where_the_limit_is_lifted(world):
    client = world.connect(world.serve(polite, NO_LIMIT), NO_LIMIT)
    answer = client.call("unary", request("big", payload=LARGE * 3))
    assert answer.code.name == "OK"
    assert len(answer.replies[0].payload) == 3 * len(LARGE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_over_the_servers_limit_is_resource_exhausted(world, kind):
    client = world.connect(world.serve(polite, SMALL_LIMIT))
    answer = client.call(kind, request("big", payload=b"x" * 2000))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in answer.details
    assert client.call(kind, request("small")).code.name == "OK"


@pytest.mark.parametrize("before", [1, 5])
@pytest.mark.parametrize("kind", ["client_stream", "bidi"])
def test_a_later_request_over_the_servers_limit_is_resource_exhausted_too(world, kind, before):
    client = world.connect(world.serve(polite, SMALL_LIMIT))
    for _ in range(20):  # the status must not race with anything
        begun = client.begin(kind, *[request(str(number)) for number in range(before)])
        replies = [begun.read().message for _ in range(before)] if kind == "bidi" else []
        begun.write(request("big", payload=b"x" * 2000))
        assert begun.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in begun.details()
        assert replies == [f"Hello, {number}!" for number in range(before)] * (kind == "bidi")
    assert client.call(kind, request("small")).code.name == "OK"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_over_the_clients_limit_is_resource_exhausted(world, kind):
    def big():
        asked = yield READ
        yield HelloReply(payload=b"x" * (2000 if asked.name == "big" else 20))

    client = world.connect(world.serve(big), SMALL_LIMIT)
    answer = client.call(kind, request("big"))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in answer.details
    assert client.call(kind, request("small")).code.name == "OK"


def test_four_mebibytes_and_a_bit_are_refused_by_default(world):
    answer = world.connect(world.serve(polite)).call("unary", request("big", payload=b"x" * (4 << 20)))
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("kind", KINDS)
def test_a_port_where_nobody_listens_is_unavailable_and_named(world, kind):
    port = free_port()
    answer = world.connect(f"127.0.0.1:{port}").call(kind, request(), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert f"127.0.0.1:{port}" in answer.details


def test_a_host_that_does_not_exist_is_unavailable_and_named(world):
    answer = world.connect("nobody.invalid:9080").call("unary", request(), timeout=PATIENCE)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "nobody.invalid:9080" in answer.details


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_wait_for_ready_waits_until_the_server_is_there(world, kind):
    port = free_port()
    client = world.connect(f"127.0.0.1:{port}")
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(client.call(kind, request("Ann"), wait_for_ready=True, timeout=PATIENCE))
    )
    caller.start()
    assert client.call("unary", request()).code is grpc.StatusCode.UNAVAILABLE  # and does not fail with the others
    world.serve(polite, address=f"127.0.0.1:{port}")
    caller.join(PATIENCE)
    assert answers[0].messages == ["Hello, Ann!"]


def test_wait_for_ready_ends_with_its_deadline(world):
    client = world.connect(f"127.0.0.1:{free_port()}")
    began = time.monotonic()
    answer = client.call("unary", request(), wait_for_ready=True, timeout=0.3)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < PATIENCE / 2


def test_a_call_of_ours_that_waited_in_vain_says_for_what(our_world):
    port = free_port()
    answer = our_world.connect(f"127.0.0.1:{port}").call("unary", request(), wait_for_ready=True, timeout=0.3)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert f"127.0.0.1:{port}" in answer.details
