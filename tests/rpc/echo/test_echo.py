"""The drivers carry another protocol than gRPC, beside it: both worlds, TLS, deadlines, cancellation and forks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket

import pytest

import rpc
from bench.echo_engine import engine
from tests.rpc.echo.worlds import CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, WAIT, WORLDS, Certified
from tests.rpc.script import PATIENCE
from tests.rpc.tls.certificates import Authority

pytestmark = pytest.mark.timeout(300)  # the engine may have to be built


class Ends:
    def __init__(self, world, certified):
        self._serve, self._connect = WORLDS[world]
        self._certified, self._stack = certified, contextlib.ExitStack()

    def serve(self, **how):
        return self._closed(self._serve(self._certified, **how))

    def connect(self, server):
        return self._closed(self._connect(server.address, self._certified.client))

    def pair(self, **how):
        server = self.serve(**how)
        return server, self.connect(server)

    def _closed(self, end):
        self._stack.callback(end.close)
        return end

    def close(self):
        self._stack.close()


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(params=["plaintext", "tls"])
def certified(request, authority):
    return Certified(authority if request.param == "tls" else None)


@pytest.fixture(params=WORLDS)
def ends(request, certified):
    ends = Ends(request.param, certified)
    yield ends
    ends.close()


def waits(server):
    """The one call that waits at the server, once it is there."""
    for _ in range(int(PATIENCE * 100)):
        if server.waiting:
            return server.waiting[-1]
        signal.sigtimedwait((), 0.01)
    pytest.fail("the call did not come")


def test_many_calls_at_once_have_each_its_own_answer(ends):
    _, client = ends.pair()
    payloads = [bytes([number]) * (number * number) for number in range(200)]
    assert client.calls(payloads) == [(0, "", payload) for payload in payloads]
    assert client.heard.result(PATIENCE) is None


def test_what_is_larger_than_any_buffer_goes_both_ways(ends):
    _, client = ends.pair()
    payload = os.urandom(5 << 20)
    assert client.call(payload) == (0, "", payload)


def test_it_is_protected_as_the_port_wants_it(ends, certified):
    server, client = ends.pair()
    _, waiting = client.begin(WAIT)
    call, _ = waits(server)
    for info in (client.link.tls_info(), call.tls_info()):
        assert (info is not None) == (certified.client is not None)
        assert info is None or info.version == "TLSv1.3"
    call.reply(b"done")
    assert waiting.result(PATIENCE) == (0, "", b"done")


def test_a_deadline_ends_the_call_on_both_sides(ends):
    server, client = ends.pair()
    client.call(b"first")  # there is a connection
    code, _, payload = client.call(WAIT, 0.2)
    assert (code, payload) == (DEADLINE_EXCEEDED, None)
    call, over = waits(server)
    assert over.wait(PATIENCE)
    assert not call.active
    assert client.call(b"after")[0] == 0


def test_a_call_that_is_given_up_ends_at_the_server(ends):
    server, client = ends.pair()
    key, done = client.begin(WAIT)
    call, over = waits(server)
    client.cancel(key)
    assert done.result(PATIENCE) == (CANCELLED, "not wanted any more", None)
    assert over.wait(PATIENCE)
    assert not call.active
    assert client.call(b"after")[0] == 0


def test_a_handler_that_fails_says_why(ends):
    server, client = ends.pair()
    _, done = client.begin(WAIT)
    call, _ = waits(server)
    call.fail(7, "not for you")
    assert done.result(PATIENCE) == (7, "not for you", None)


def test_a_server_that_ends_takes_its_calls_with_it(ends):
    server, client = ends.pair()
    _, done = client.begin(WAIT)
    waits(server)
    server.close()
    assert done.result(PATIENCE)[0] == UNAVAILABLE
    assert client.lost.wait(PATIENCE)
    assert client.call(b"more") is None


def test_one_port_speaks_grpc_and_echo(ends, certified, authority):
    server, client = ends.pair(config=engine().TransportConfig(1 << 22))
    target = f"localhost:{server.address[1]}"
    with (
        rpc.insecure_channel(target)
        if certified.client is None
        else rpc.secure_channel(target, rpc.ssl_channel_credentials(authority.pem))
    ) as channel:
        call = channel.unary_unary("/any/method")
        for number in range(10):
            payload = b"%d" % number
            assert client.call(payload) == (0, "", payload)
            assert call(payload, timeout=PATIENCE) == payload


def test_what_speaks_neither_is_closed(ends):
    server = ends.serve()
    with socket.create_connection(server.address) as stranger:
        stranger.settimeout(PATIENCE)
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while stranger.recv(100):  # what it may say of itself before it has heard us
                pass


def test_a_child_of_a_fork_has_connections_of_its_own_and_the_parents_go_on(ends):
    server, client = ends.pair()
    assert client.call(b"before")[0] == 0
    pid = os.fork()
    if pid == 0:
        signal.alarm(int(PATIENCE))
        own = ends.connect(server)
        fine = not client.link.usable and client.link.call(b"of the parent", 1.0) is None
        os._exit(7 if fine and own.call(b"of the child") == (0, "", b"of the child") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert client.call(b"after") == (0, "", b"after")
