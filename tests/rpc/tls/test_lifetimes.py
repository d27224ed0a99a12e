"""What TLS holds is let go of: descriptors, threads, secrets; also of connections that never came about."""

import gc
import socket
import threading
import weakref
from concurrent import futures

import grpc
import pytest

import rpc
from tests.rpc.script import PATIENCE
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import SHOP
from tests.rpc.tls.ends import MeshWorld, ended, hello, open_files, raw, until
from tests.rpc.tls.mesh import TARGET, Mesh, strict

ROUNDS = 20


@pytest.fixture
def silent():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = []

        def accept():
            try:
                while True:
                    taken.append(listener.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", taken
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for sock in taken:
        sock.close()


@pytest.mark.parametrize("kind", ["ssl", "mesh"])
def test_servers_that_are_over_leave_no_descriptors_and_follow_nothing(kind, mesh_root, reviews):
    mesh = Mesh(reviews)
    mesh.inbound.set(strict())
    if kind == "mesh":
        credentials = rpc.xds_server_credentials(mesh=mesh)
    else:
        first = rpc.ssl_server_certificate_configuration([mesh_root.issue(SHOP).pair])
        credentials = rpc.dynamic_ssl_server_credentials(first, lambda: None)
    gc.collect()
    before = open_files()
    for _ in range(ROUNDS):
        with futures.ThreadPoolExecutor(1) as pool:
            server = rpc.server(pool)
            server.add_secure_port("127.0.0.1:0", credentials)
            server.start()
            server.stop(0).wait(PATIENCE)
            del server

    def all_gone():
        gc.collect()
        return open_files() <= before and not len(mesh.inbound) and not len(mesh.identity._observed)

    until(all_gone, f"{open_files() - before} descriptors are left of {ROUNDS} servers")


def test_connections_that_came_and_went_leave_no_descriptors(our_world, shop, reviews):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, strict())
    keep = our_world.call_from(Mesh(shop), address)
    hello(keep)
    before = open_files()
    for _ in range(ROUNDS):
        client = our_world.call_from(Mesh(shop), address)
        hello(client)
        client.close()
        raw(address).close()
        with raw(address) as half:
            half.sendall(b"\x16\x03\x01\x02\x00\x01")
    hello(keep)  # a server's thread holds the call that it served last
    until(lambda: open_files() <= before, "descriptors are left")


def test_handshakes_that_fail_leave_no_descriptors(our_world, mesh_root, reviews):
    bad = mesh_root.identity("spiffe://evil.example/ns/demo/sa/shop")
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, strict())
    our_world.call_from(Mesh(bad), address).call("unary", asked("Ann"))
    before = open_files()
    for _ in range(ROUNDS):
        client = our_world.call_from(Mesh(bad), address)
        assert client.call("unary", asked("Ann")).code is grpc.StatusCode.UNAVAILABLE
        client.close()
    until(lambda: open_files() <= before, "descriptors are left")


def test_a_channel_that_is_closed_in_a_handshake_fails_its_call_and_leaves_nothing(our_world, shop, reviews, silent):
    address, taken = silent
    hello(our_world.pair(shop, reviews)[0])  # what is made once is there
    before = open_files()
    client = our_world.call_from(Mesh(shop), address, connect_timeout=2.0)
    call = client.begin("unary", asked("Ann"))
    until(lambda: taken, "it does not dial")
    client.close()
    assert call.code() is grpc.StatusCode.CANCELLED
    until(lambda: open_files() <= before + len(taken), "a descriptor is left")


def test_a_server_that_stops_ends_handshakes(our_world, reviews):
    theirs = Mesh(reviews)
    theirs.inbound.set(strict())
    server, port = our_world.start_server(lambda: iter(()), credentials=rpc.xds_server_credentials(mesh=theirs))
    with raw(f"127.0.0.1:{port}") as half:
        half.sendall(b"\x16")
        our_world.stop(server)
        assert ended(half) == b""


def test_a_channel_nobody_holds_is_freed_with_its_connections(shop, reviews):
    world = MeshWorld("sync")
    try:
        address = world.serve_in(Mesh(reviews), strict())
        mesh = Mesh(shop).dials(address)
        channel = rpc.insecure_channel(TARGET, mesh=mesh)
        channel.close()
        gone = weakref.ref(channel)
        del channel
        gc.collect()
        assert gone() is None
    finally:
        world.close()
