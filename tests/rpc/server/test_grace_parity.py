"""A server that ends gives its grace to every call that has come, also where the request is still on its way."""

from __future__ import annotations

import threading

import pytest

from examples.hello.hello_pb2 import HelloReply
from tests.rpc.frames import DATA, END_STREAM, GOAWAY, HEADERS, PING, frame, message, request_headers
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE, polite, request
from tests.rpc.tls.ends import until


@pytest.fixture(params=[(kind, make) for kind in ("sync", "aio") for make in ("grpcio", "ours")], ids="-".join)
def server_world(request):
    world = World(request.param[0], server=request.param[1])
    yield world
    world.close()


def test_a_unary_request_that_comes_in_pieces_is_answered_within_the_grace(server_world, dial):
    server, port = server_world.start_server(polite)
    raw = dial(f"127.0.0.1:{port}")
    body = message(request("Ann").SerializeToString())
    raw.send(raw.headers(1, request_headers()), frame(DATA, 1, body[:3]), frame(PING, 0, bytes(8)))
    assert raw.next(PING)  # what was sent before has arrived
    if server_world.server_make == "ours":
        until(lambda: server._intake._held == 1)
    stopping = threading.Thread(target=server_world.stop, args=(server, PATIENCE))
    stopping.start()
    replies, going = [], False
    for got in raw.frames():
        if got.kind == GOAWAY and not going:
            going = True
            raw.send(frame(DATA, 1, body[3:], END_STREAM))
        if got.kind == DATA and got.body:
            replies.append(HelloReply.FromString(got.body[5:]).message)
        if got.kind == HEADERS and got.flags & END_STREAM:
            break
    raw.close()  # grpcio's waits for that, too
    stopping.join(PATIENCE)
    assert not stopping.is_alive()
    assert replies == ["Hello, Ann!"]
