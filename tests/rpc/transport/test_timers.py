"""What a timer costs depends on what is due: connections that wait for nothing are not looked at for others' sake."""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from rpc.aio.reactor import shared_reactor
from rpc.blocking.tender import tended_reactor
from tests.rpc.frames import RawClient
from tests.rpc.script import PATIENCE, READ, polite, request, stay_until_over

CROWD = 100
CALLS = 20
SOON = 100  # milliseconds
PINGING = [("grpc.keepalive_time_ms", SOON), ("grpc.keepalive_permit_without_calls", 1)]
PATIENT = [("grpc.http2.min_ping_interval_without_data_ms", 1), ("grpc.keepalive_permit_without_calls", 1)]


def client_reactor(world):
    async def own():
        return shared_reactor(world.loop.loop, None)

    return world.loop.run(own()) if world.loop else tended_reactor()


def stays():
    yield READ
    yield stay_until_over(threading.Event())


def late(client):
    """Calls that end by their deadline, one after the other."""
    for _ in range(CALLS):
        assert client.begin("unary", request("late"), timeout=0.02).code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.fixture
def lingering(our_world):
    """The address of a server whose handlers stay as long as their calls, and the server."""
    server, port = our_world.start_server(stays)
    return f"127.0.0.1:{port}", server


def test_a_servers_deadlines_visit_no_idle_connection(our_world, lingering):
    address, server = lingering
    idle = [RawClient(address) for _ in range(CROWD)]
    client = our_world.connect(address)
    late(client)
    looks = server._reactor.looks
    late(client)
    assert server._reactor.looks - looks < 4 * CALLS
    for each in idle:
        each.close()


def test_a_clients_deadlines_visit_no_idle_connection(our_world, lingering):
    others = our_world.serve(polite)
    for _ in range(CROWD):
        assert our_world.connect(others).call("unary", request("once")).messages
    looks = client_reactor(our_world).looks
    late(our_world.connect(lingering[0]))
    # Those of threads are looked after once, when they have been left alone for a while.
    assert client_reactor(our_world).looks - looks < CROWD + 6 * CALLS


@pytest.mark.parametrize("who", ["client", "server"])
def test_keepalive_visits_who_is_due(our_world, who):
    server, port = our_world.start_server(polite, PINGING if who == "server" else PATIENT)
    options = PINGING if who == "client" else None
    clients = [our_world.connect(f"127.0.0.1:{port}", options) for _ in range(CROWD)]
    for client in clients:
        assert client.call("unary", request("once")).messages
    reactor = server._reactor if who == "server" else client_reactor(our_world)

    def pings():
        return reactor.tally().keepalives

    begun, looks = pings(), reactor.looks
    until = time.monotonic() + PATIENCE
    while pings() - begun < 5 * CROWD and time.monotonic() < until:
        time.sleep(0.05)
    assert pings() - begun >= 5 * CROWD
    assert reactor.looks - looks < CROWD + 4 * (pings() - begun)


def test_connections_that_are_left_alone_are_looked_after_once(sync_world):
    address = sync_world.serve(polite)
    for _ in range(CROWD):
        assert sync_world.connect(address).call("unary", request("once")).messages
    time.sleep(2.2)  # the reactor has looked at all of them then
    looks = tended_reactor().looks
    time.sleep(2.2)
    assert tended_reactor().looks - looks < CROWD


def test_a_future_ends_by_its_deadline_though_another_thread_reads_the_connection(sync_world, lingering):
    client = sync_world.connect(lingering[0])
    waiting = threading.Thread(target=client.call, args=("unary", request("long")), kwargs={"timeout": 10})
    waiting.start()
    time.sleep(0.2)
    future = client.stub.SayHello.future(request("short"), timeout=0.2)
    assert future.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert waiting.is_alive()
    waiting.join()
