"""Clients that hold all that header lists may hold shut no other client out, however long they stay."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.rpc import frames
from tests.rpc.frames import RST_STREAM, RawClient
from tests.rpc.script import greet_and_stay, request

# By HPACK, fifteen bytes once the table has one.
LARGE = [("x", "v" * 3800)] * 15
TOKEN = (("authorization", "Bearer " + "t" * 1500),)
GREEDY, EACH = 10, 150  # of 57 KB each: more than all may hold


@pytest.fixture
def greedy():
    with contextlib.ExitStack() as stack:

        def connect(address):
            client = RawClient(address)
            stack.callback(client.close)
            return client

        yield connect


def test_who_sends_a_token_with_many_calls_at_once_is_served_beside_the_greedy(our_world, greedy):
    over = threading.Event()
    address = our_world.serve(greet_and_stay(over), threads=32)
    for client in [greedy(address) for _ in range(GREEDY)]:
        for stream in range(1, 2 * EACH, 2):
            client.send(client.headers(stream, frames.request_headers("/hello.Greeter/SayHello", *LARGE)))
        assert client.next(RST_STREAM) is not None, "nothing is full"
    honest = our_world.connect(address)
    calls = [honest.begin("bidi", request("Ann"), metadata=TOKEN) for _ in range(20)]
    assert [call.read() is not None for call in calls] == [True] * len(calls)
    over.set()
