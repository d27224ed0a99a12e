"""TLS as bytes: cut anywhere, large, slow, ended in the middle; what HTTP/2 above it sees is the same as without."""

import contextlib
import socket
import threading
import time

import grpc
import pytest

import rpc
from tests.rpc.proxy import Proxy
from tests.rpc.script import READ, greet, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import SHOP
from tests.rpc.tls.ends import hello, links, raw, refused, until
from tests.rpc.tls.mesh import TARGET, Mesh, strict

MIB = 1 << 20


class Trickle(Proxy):
    """Passes on so many bytes at a time, each in a packet of its own."""

    def __init__(self, address, size):
        self._size = size
        super().__init__(address)

    def _copy(self, one, other):
        with contextlib.suppress(OSError):
            other.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while piece := one.recv(65536):
                for at in range(0, len(piece), self._size):
                    other.sendall(piece[at : at + self._size])
                    time.sleep(0)  # the reader may look in between
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def through():
    """Start proxies that end with the test."""
    proxies = []

    def start(proxy):
        proxies.append(proxy)
        return proxy

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100, 1000, 16384 + 5])
def test_records_cut_anywhere(our_world, shop, reviews, through, size):
    proxy = through(Trickle(our_world.serve_in(Mesh(reviews), strict()), size))
    client = our_world.call_from(Mesh(shop), proxy.address)
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        assert client.call(kind, asked("Ann")).messages == ["Hello, Ann!"]
    payload = bytes(range(256)) * (4 if size < 5 else 80 if size < 100 else 400)  # more than a record
    [reply] = client.call("unary", asked("Ann", payload=payload)).replies
    assert reply.payload == payload


def test_large_messages_both_ways_at_once(our_world, shop, reviews):
    client, _, _ = our_world.pair(shop, reviews)
    payload = b"x" * (3 * MIB)
    replies = client.call("bidi", *(asked("Ann", payload=payload) for _ in range(4))).replies
    assert [reply.payload == payload for reply in replies] == [True] * 4


def test_a_slow_reader_holds_back_its_own_sender_and_nobody_else(our_world, shop, reviews):
    """Flow control under TLS: what nobody reads is not sent, and fills no memory."""
    sent = []

    def script():
        request = yield READ
        if request.name != "much":
            yield greet(request)
            return
        for _ in range(200):
            yield greet(request)
            sent.append(1)

    client, _, _ = our_world.pair(shop, reviews, script=script)
    hello(client)
    slow = client.begin("server_stream", asked("much", payload=b"x" * (MIB // 4)))
    first = slow.read()
    assert len(first.payload) == MIB // 4

    def settled():
        before = len(sent)
        time.sleep(0.5)
        return len(sent) == before

    until(settled)
    assert len(sent) < 100, "50 MiB were taken from a server that nobody reads"
    hello(client)
    count = 1
    while slow.read() is not None:
        count += 1
    assert count == 200


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "end"])
def test_a_connection_that_is_cut_fails_its_calls_and_the_next_is_made(our_world, shop, reviews, through, reset):
    """Without a close_notify, too: a stream that was cut off is never taken for one that has ended."""
    forever = threading.Event()

    def script():
        request = yield READ
        yield greet(request)
        if request.name == "stay":
            yield lambda _: forever.wait(30) if our_world.kind == "sync" else None
            while (yield READ) is not None:
                pass

    proxy = through(Proxy(our_world.serve_in(Mesh(reviews), strict(), script)))
    client = our_world.call_from(Mesh(shop), proxy.address)
    call = client.begin("bidi", asked("stay"))
    assert call.read().message == "Hello, stay!"
    proxy.kill(reset=reset)
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    forever.set()
    hello(client, wait_for_ready=True)


@pytest.mark.parametrize("after", [1, 5, 100, 300, 600])
def test_a_connection_that_is_cut_in_the_handshake_is_refused_and_others_go_on(
    our_world, mesh_root, shop, reviews, through, after
):
    class Cut(Proxy):
        def _copy(self, one, other):
            left = after
            with contextlib.suppress(OSError):
                while left and (piece := one.recv(left)):
                    other.sendall(piece)
                    left -= len(piece)
                for end in (one, other):
                    end.shutdown(socket.SHUT_RDWR)

    address = our_world.serve_in(Mesh(reviews), strict())
    good = our_world.call_from(Mesh(shop), address)
    hello(good)
    stranger = our_world.call_from(Mesh(mesh_root.identity(SHOP)), through(Cut(address)).address)  # resumes nothing
    answer = stranger.call("unary", asked("Ann"), timeout=20)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    hello(good)


def test_plaintext_is_never_tried_instead(our_world, shop):
    """A server that speaks plaintext where TLS is demanded hears a ClientHello and nothing else."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock:
                        heard.append(sock.recv(65536))
                        sock.sendall(b"\0\0\0\x04\0\0\0\0\0")  # SETTINGS

        thread = threading.Thread(target=listen)
        thread.start()
        client = our_world.call_from(Mesh(shop), f"127.0.0.1:{listener.getsockname()[1]}", connect_timeout=5.0)
        refused(client, "does not speak TLS")
        refused(client)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert heard
    assert all(said[:2] == b"\x16\x03" for said in heard)


def test_credentials_that_follow_the_mesh_do_not_mean_plaintext_outside_of_it(our_world):
    """As grpcio's: without a fallback that says otherwise, what is no target of the mesh is called over TLS."""
    client = our_world.connect(our_world.serve(polite), credentials=rpc.xds_channel_credentials())
    refused(client, "does not speak TLS")


def test_endpoints_of_the_mesh_that_are_not_called_as_demanded_are_not_called(our_world, shop, reviews):
    """One endpoint over mutual TLS, one that speaks plaintext: calls go to the first, never to the second."""
    good = our_world.serve_in(Mesh(reviews), strict())
    bad = our_world.serve(polite)
    mesh = Mesh(shop).dials(good, bad)
    client = our_world.connect(TARGET, mesh=mesh)
    for _ in range(10):
        hello(client, wait_for_ready=True)
    assert len(links(client)) == 1


def test_bytes_after_the_end_of_tls_are_not_heard(our_world, shop, reviews):
    """A close_notify ends the connection although the socket is open; what follows is nobody's."""
    address = our_world.serve_in(Mesh(reviews), strict())
    with raw(address) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00" + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sock.recv(4096):
                pass
    hello(our_world.call_from(Mesh(shop), address))
