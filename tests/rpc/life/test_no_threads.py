"""The system has no thread to give for a moment: calls, names and ports get over it."""

from __future__ import annotations

import queue
import socket

import grpc
import pytest

import rpc
from rpc.resolver.dns import DnsResolver
from rpc.security.inbound import SecuredPort
from tests.rpc.script import PATIENCE, polite, request


@pytest.fixture
def address(sync_world):
    return sync_world.serve(polite)


def test_a_call_that_cannot_dial_fails_and_the_channel_dials_again(sync_world, address, without_threads):
    client = sync_world.connect(address)
    without_threads()
    with pytest.raises(grpc.RpcError) as failed:
        client.stub.SayHello(request("one"), timeout=PATIENCE)
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "new thread" in failed.value.details()
    without_threads()
    assert client.stub.SayHello(request("two"), timeout=PATIENCE, wait_for_ready=True).message == "Hello, two!"


def test_a_future_that_cannot_wait_ends_and_the_next_one_waits(sync_world, address, without_threads):
    client = sync_world.connect(address)
    without_threads()
    future = client.stub.SayHello.future(request("one"), timeout=PATIENCE, wait_for_ready=True)
    assert future.exception(PATIENCE).code() is grpc.StatusCode.UNAVAILABLE
    without_threads()
    future = client.stub.SayHello.future(request("two"), timeout=PATIENCE, wait_for_ready=True)
    assert future.result(PATIENCE).message == "Hello, two!"


def test_a_subscription_that_failed_leaves_the_next_one_free(address, without_threads):
    states, never = queue.Queue(), queue.Queue()
    with rpc.insecure_channel(address) as channel:
        without_threads()
        with pytest.raises(RuntimeError, match="new thread"):
            channel.subscribe(never.put)
        without_threads()
        channel.subscribe(states.put)
        assert states.get(timeout=PATIENCE) is grpc.ChannelConnectivity.IDLE
        assert never.empty()


def test_a_name_that_cannot_be_looked_up_is_dialled_by_its_name_and_looked_up_later(without_threads):
    told = queue.Queue()
    resolver = DnsResolver("localhost", 80, 0.0)
    without_threads()
    resolver.start(told.put)
    assert hosts(told.get_nowait()) == {"localhost"}
    without_threads()
    resolver.refresh()
    assert hosts(told.get(timeout=PATIENCE)) <= {"127.0.0.1", "::1"}


def hosts(resolved):
    [pool] = resolved.pools
    return {endpoint.address for endpoint in pool.endpoints}


def test_connections_that_no_longer_fit_are_drained_without_a_timer_too(without_threads):
    class Reactor:
        asked = 0

        def mark_misfits(self, port_policy):
            return 1

        def drain_misfits(self):
            self.asked += 1
            return (0, 0.01) if self.asked == 1 else (1, None)

    class Credentials:
        def follow(self, secured_port):
            return None

    secured_port, reactor = SecuredPort(Credentials(), "127.0.0.1:1", 1), Reactor()
    secured_port.start(reactor)
    without_threads()
    secured_port.set([])
    assert reactor.asked == 2, "once they were not due yet, then they were"


def test_a_server_that_cannot_begin_says_so_and_listens_to_nobody(without_threads):
    server = rpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    without_threads()
    with pytest.raises(RuntimeError, match="new thread"):
        server.start()
    without_threads()
    assert not server.ready
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_server_stops_without_a_thread_of_its_own(without_threads):
    server = rpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    without_threads()
    assert server.stop(None).wait(PATIENCE)
    assert server.stop(None).is_set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
