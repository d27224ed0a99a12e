"""Crowds of clients that mean no good, at a server in a process of its own: it serves the others meanwhile, its memory
stays bounded, each gets the code it deserves, and the counters say what happened. `test_abuse` has floods one by one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import subprocess
import sys
import time

import grpc
import pytest

from tests.rpc import frames
from tests.rpc.costs import MIB, all_descriptors, many_descriptors
from tests.rpc.frames import DATA, END_STREAM, GOAWAY, HEADERS, SETTINGS, WINDOW_UPDATE, RawClient, frame, message
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE
from tests.rpc.script import request as asked
from tests.rpc.wire.test_abuse import HELLO, a_header_block_without_end, empty_data, pings, rapid_resets, settings

NO_WINDOW = struct.pack(">HI", 4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE
IDLE_EACH = 32 * 1024  # bytes of a connection that has greeted and does nothing; both ends' sockets are the kernel's
SLOW_LIMIT = 20.0  # seconds that a header block may take


class Beset:
    """The server, and a polite client of it."""

    def __init__(self, kind):
        command = [sys.executable, "-m", "tests.rpc.wire.beset_server", kind]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{json.loads(self._process.stdout.readline())}"
        self._world = World("sync")
        self._client = self._world.connect(self.address)
        for _ in range(50):
            self.serves()
        self.before = self.cost()

    def cost(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def counted(self, name):
        return self.cost()["counters"][name] - self.before["counters"][name]

    def grown(self, what="memory"):
        """Bytes more than in peace."""
        return self.cost()[what] - self.before[what]

    def serves(self):
        """Others are served: those that were there before, and those that come now."""
        for client in (self._client, self._world.connect(self.address)):
            answer = client.call("unary", asked("Ann"))
            assert (answer.code, answer.messages) == (grpc.StatusCode.OK, ["Hello, Ann!"]), answer.details
        client.close()

    def until(self, truth, why):
        end = time.monotonic() + PATIENCE
        while not truth():
            assert time.monotonic() < end, f"{why}: {self.cost()}"
            time.sleep(0.05)

    def close(self):
        self._world.close()
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


@pytest.fixture(params=["sync", "aio"])
def beset(request):
    server = Beset(request.param)
    yield server
    server.close()


@pytest.fixture
def crowd(beset):
    """Make raw clients of the server, which end with the test."""
    with many_descriptors(), contextlib.ExitStack() as stack:

        def connect(count, **how):
            made = [RawClient(beset.address, **how) for _ in range(count)]
            for client in made:
                stack.callback(client.close)
            return made

        yield connect


@pytest.mark.timeout(120)
def test_many_idle_connections_cost_little_each(beset, crowd):
    count = min(2000, all_descriptors() - 500)
    clients = crowd(count)
    for client in clients:
        assert client.next(SETTINGS) is not None, "it was not taken"
    beset.serves()
    assert beset.grown() < count * IDLE_EACH + 16 * MIB
    for client in clients:
        client.close()
    beset.until(lambda: beset.grown("descriptors") < 50, "they were not let go of")


def test_bodies_that_dribble_hold_what_came_of_them(beset, crowd):
    """Each announces three megabytes and sends a byte. They have no deadline and keep their streams; handlers of single
    requests do not run before the request is whole.
    """
    clients = crowd(50)
    for client in clients:
        for stream in range(1, 41, 2):
            client.call(message(b"x", length=3 * MIB), stream=stream, end=False)
    beset.until(lambda: beset.counted("opened") >= 50 * 20, "they were not taken")
    beset.serves()
    for _ in range(5):
        for client in clients:
            client.send(*(frame(DATA, stream, b"y") for stream in range(1, 41, 2)))
    beset.serves()
    assert beset.grown() < 32 * MIB  # they have announced three gigabytes
    assert beset.counted("given_up") == 0


def test_header_lists_that_name_a_large_entry_hold_a_share_and_no_more(beset, crowd):
    """By HPACK, these fields are fifteen bytes once the table has one. The requests stay open, and so does what they
    became.
    """
    large = [("x", "v" * 3800)] * 15
    clients = crowd(10)
    for client in clients:
        for stream in range(1, 1999, 2):
            client.send(client.headers(stream, frames.request_headers("/hello.Greeter/SayHello", *large)))
    beset.until(lambda: beset.counted("malformed") >= 5000, "nothing was refused")
    beset.serves()
    assert beset.grown("peak") < 10 * 20 * MIB  # of 600; asyncio's handlers have begun, with what Python made of theirs
    for client in clients:
        client.close()
    beset.until(lambda: beset.grown() < 16 * MIB, "what was held does not go back")


@pytest.mark.timeout(120)
def test_header_blocks_that_dribble_are_given_up_in_time(beset, crowd):
    clients = crowd(100)
    began = time.monotonic()
    for client in clients:
        assert client.next(SETTINGS) is not None  # acknowledged before the block, which nothing may interrupt
        client.send(frame(HEADERS, 1, client.headers(1, frames.request_headers())[9:]))
    beset.serves()
    for client in clients:
        client.socket.settimeout(PATIENCE)
        goaway = client.next(GOAWAY)
        assert goaway is not None
        assert goaway.body[4:8] == struct.pack(">I", frames.CALM)
    assert time.monotonic() - began > SLOW_LIMIT - 1
    beset.serves()
    assert beset.counted("given_up") == 100
    assert beset.grown() < 16 * MIB


def test_replies_that_nobody_lets_in_wait_with_what_they_are(beset, crowd):
    clients = crowd(50, greet=False)
    reply = 4096
    ask = asked("Ann", payload=bytes(reply)).SerializeToString()
    for client in clients:
        client.send(frames.PREFACE, frame(SETTINGS, body=NO_WINDOW))
        for stream in range(1, 41, 2):
            client.call(message(ask), stream=stream)
    for client in clients:
        heads = [client.next(HEADERS) for _ in range(20)]
        assert all(head is not None for head in heads), "the handlers did not run"
    beset.serves()
    assert beset.grown() < 50 * 20 * 2 * reply + 32 * MIB
    for client in clients:
        client.close()
    beset.until(lambda: beset.grown("descriptors") < 10, "they were not let go of")
    beset.serves()


def test_replies_that_nobody_reads_stop_their_connection_only(beset, crowd):
    """All windows are open and the socket is not read: what the kernel does not take waits."""
    [client] = crowd(1, greet=False)
    open_wide = frame(WINDOW_UPDATE, 0, struct.pack(">I", 1 << 30))
    client.send(frames.PREFACE, frame(SETTINGS, body=struct.pack(">HI", 4, 1 << 30)), open_wide)
    ask = asked("Ann", payload=bytes(100_000)).SerializeToString()
    client.socket.settimeout(1.0)
    with contextlib.suppress(OSError):  # the server takes no more, or has had enough
        for stream in range(1, 2001, 2):
            client.send(client.headers(stream, frames.request_headers()))
            for at in range(0, len(ask) + 5, 16384):
                last = at + 16384 >= len(ask) + 5
                client.send(frame(DATA, stream, message(ask)[at : at + 16384], END_STREAM if last else 0))
    beset.serves()
    # As many replies as there may be streams, and requests as far as the windows go.
    assert beset.grown() < 1000 * 2 * 100_000 + 64 * MIB
    client.close()
    beset.until(lambda: beset.grown("descriptors") < 10, "it was not let go of")
    beset.serves()


def test_lengths_beyond_the_limit_are_refused_before_their_bytes(beset, crowd):
    for client in crowd(20):
        for stream in range(1, 41, 2):
            client.call(message(b"x", length=0xFFFFFFFF), stream=stream, end=False)
            assert client.answer(stream)["grpc-status"] == "8"
    beset.serves()
    assert beset.grown("peak") < 16 * MIB


def test_bombs_are_not_inflated_beyond_the_limit(beset, crowd):
    bomb = message(gzip.compress(bytes(200 * MIB)), flag=1)
    for client in crowd(5):
        assert client.next(WINDOW_UPDATE) is not None  # the windows are known from here on
        client.send(client.headers(1, frames.request_headers("/hello.Greeter/SayHello", ("grpc-encoding", "gzip"))))
        for at in range(0, len(bomb), 16384):
            client.send(frame(DATA, 1, bomb[at : at + 16384]))
        assert client.answer()["grpc-status"] == "8"
    beset.serves()
    assert beset.grown("peak") < 32 * MIB  # the limit is four; five bombs would be a thousand


def test_half_closed_sockets_are_let_go_of(beset, crowd):
    clients = crowd(200)
    for client in clients:
        client.call(message(HELLO)[:7], end=False)
        client.socket.shutdown(socket.SHUT_WR)
    for client in clients:
        assert client.hung_up()
    beset.until(lambda: beset.grown("descriptors") < 10, "they were not let go of")
    beset.serves()
    assert beset.counted("given_up") == 0


@pytest.mark.timeout(120)
def test_all_floods_at_once(beset, crowd):
    floods = [rapid_resets, pings, settings, empty_data, a_header_block_without_end]
    clients = crowd(4 * len(floods))
    for flood, client in zip(floods * 4, clients, strict=True):
        with contextlib.suppress(OSError):  # the server has had enough of it and has hung up
            for piece in flood(client):
                client.send(piece)
    beset.serves()
    beset.until(lambda: beset.counted("given_up") == len(clients), "some were not given up")
    for name in ("reset_early", "ping_strikes", "settings", "empty_frames"):
        assert beset.counted(name) >= 4 * 3, name
    assert beset.grown("peak") < 64 * MIB
