"""Where a server listens, and what it calls its peers: as grpcio's does."""

from __future__ import annotations

import errno
import socket

import grpc
import pytest

import rpc
import rpc.aio
from tests.rpc.peers import World
from tests.rpc.script import READ, greet, polite, request

ADDRESSES = ["[::]:0", "0.0.0.0:0", "localhost:0", "127.0.0.1:0", "[::1]:0", "[::ffff:127.0.0.1]:0"]
LOOPBACKS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


@pytest.fixture(params=["sync", "aio"])
def kind(request):
    return request.param


@pytest.fixture
def worlds(kind):
    """Ours and grpcio's servers."""
    made = [World(kind, server=make) for make in ("ours", "grpcio")]
    yield made
    for world in made:
        world.close()


def reached(port):
    """At which of the machine's own addresses somebody listens."""
    found = set()
    for address, family in LOOPBACKS.items():
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            if sock.connect_ex((address, port)) == 0:
                found.add(address)
    return found


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_server_listens_where_grpcio_s_does(worlds, address):
    ours, theirs = (reached(world.start_server(polite, address=address)[1]) for world in worlds)
    assert ours == theirs


@pytest.mark.parametrize("address", ["nosuch.invalid:0", "ipv4:127.0.0.1:0", "203.0.113.5:0", "", "vsock:1:2"])
def test_what_cannot_be_listened_on_is_refused_as_by_grpcio(worlds, address):
    for world in worlds:
        with pytest.raises(RuntimeError, match="Failed to bind to address"):
            world.start_server(polite, address=address)


@pytest.mark.parametrize("port", ["65536", "99999", "-1", "http2"])
def test_a_port_that_is_none_is_refused(kind, port):
    world = World(kind)
    try:
        with pytest.raises(RuntimeError, match="host:port"):
            world.start_server(polite, address=f"127.0.0.1:{port}")
    finally:
        world.close()


class WithoutIPv6(socket.socket):
    """As on a system whose kernel has none."""

    def __init__(self, family=socket.AF_INET, *args, **how):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *args, **how)


@pytest.mark.parametrize("address", ["[::]:0", "0.0.0.0:0", "localhost:0"])
def test_where_there_is_no_ipv6_a_server_listens_on_ipv4(our_world, monkeypatch, address):
    monkeypatch.setattr(socket, "socket", WithoutIPv6)
    port = our_world.start_server(polite, address=address)[1]
    monkeypatch.undo()
    assert reached(port) == {"127.0.0.1"}
    assert our_world.connect(f"127.0.0.1:{port}").call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_a_port_is_free_at_all_addresses_of_its_name(our_world, monkeypatch):
    """The first that is offered is somebody else's at the other address."""
    bound = []

    class Taken(socket.socket):
        def bind(self, address):
            bound.append(address)
            if len(bound) == 2:  # the second address of the name
                raise OSError(errno.EADDRINUSE, "Address already in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Taken)
    port = our_world.start_server(polite, address="localhost:0")[1]
    monkeypatch.undo()
    assert reached(port) == set(LOOPBACKS)


def test_a_port_added_after_the_start_is_refused(our_world):
    server, _ = our_world.start_server(polite)
    for add in (
        lambda: server.add_insecure_port("127.0.0.1:0"),
        lambda: server.add_secure_port("127.0.0.1:0", rpc.insecure_server_credentials()),
        lambda: server.add_probe_port("127.0.0.1:0"),
    ):
        with pytest.raises(ValueError, match="before the server is started"):
            add()


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "a.localhost"])
@pytest.mark.parametrize("address", ["[::1]:0", "127.0.0.1:0"])
def test_localhost_is_this_machine_by_both_families(world, address, name):
    port = world.start_server(polite, address=address)[1]
    assert world.connect(f"{name}:{port}").call("unary", request("Ann")).messages == ["Hello, Ann!"]


# ---- what peers are called


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("[::]:0", "127.0.0.1:{}"),
        ("[::]:0", "[::1]:{}"),
        ("0.0.0.0:0", "127.0.0.1:{}"),
        ("127.0.0.1:0", "127.0.0.1:{}"),
        ("[::1]:0", "[::1]:{}"),
        ("unix:{tmp}/peer.sock", "unix:{tmp}/peer.sock"),
    ],
)
def test_a_peer_is_called_as_by_grpcio(worlds, tmp_path, address, target):
    said = []

    def script():
        said.append((yield lambda context: context.peer()))
        yield READ
        yield greet(request())

    for number, world in enumerate(worlds):
        folder = tmp_path / str(number)
        folder.mkdir()
        port = world.start_server(script, address=address.format(tmp=folder))[1]
        answer = world.connect(target.format(port, tmp=folder)).call("unary", request())
        assert answer.code is grpc.StatusCode.OK
    ours, theirs = (peer.rstrip("0123456789") for peer in said)  # the port is the caller's
    assert ours == theirs
