"""Handshakes come behind what goes on in open connections, however many there are at once."""

from __future__ import annotations

import contextlib
import select
import threading

from tests.rpc.frames import RawClient, message
from tests.rpc.script import READ, greet
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import MeshWorld, raw
from tests.rpc.tls.mesh import MUTUAL, Mesh, chain, listener
from tests.rpc.tls.test_half_open import client_hello

CROWD = 60
FEW = CROWD // 4


def test_a_crowd_of_handshakes_does_not_hold_up_a_call(reviews):
    """All of it is there at once, the crowd's hellos first, then a call on an open connection, which is served first.

    In a loop, which can be made to look away meanwhile; the engine is the same for threads.
    """
    crowd, greeted = [], []

    def look(_):
        readable, _, _ = select.select(crowd, [], [], 0)
        greeted.append(len(readable))

    def script():
        request = yield READ
        yield look
        yield greet(request)

    world = MeshWorld("aio")
    with contextlib.ExitStack() as stack:
        stack.callback(world.close)
        both = listener(chain("tls", tls=MUTUAL, transport="tls"), chain("plaintext", transport="raw_buffer"))
        address = world.serve_in(Mesh(reviews), both, script)
        client = RawClient(address)
        stack.callback(client.close)
        crowd += [stack.enter_context(raw(address)) for _ in range(CROWD)]
        for stream in (1, 3):  # the crowd is accepted by then
            client.call(message(asked("Ann").SerializeToString()), stream=stream)
            assert client.answer(stream)["grpc-status"] == "0"
        busy, free = threading.Event(), threading.Event()
        world.loop.loop.call_soon_threadsafe(lambda: (busy.set(), free.wait(10)))
        assert busy.wait(10)
        for sock in crowd:
            sock.sendall(client_hello())
        client.call(message(asked("Ann").SerializeToString()), stream=5)
        free.set()
        assert client.answer(5)["grpc-status"] == "0"
        assert greeted[-1] <= FEW, f"{greeted[-1]} of {CROWD} handshakes went before the call"
        for sock in crowd:
            assert sock.recv(1) == b"\x16", "the handshake that was put off goes on"
