"""Connections that end: killed under calls, closed by a server that stops, dropped calls, restarts."""

from __future__ import annotations

import gc
import socket
import threading
import time
from concurrent import futures

import grpc
import pytest

import rpc
from tests.rpc.proxy import Proxy
from tests.rpc.script import PATIENCE, READ, greet, greet_and_stay, polite, request, stay_until_over, wait_for


@pytest.fixture
def network():
    """Make proxies that end with the test."""
    proxies = []

    def make(address):
        proxies.append(Proxy(address))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.close()


def staying(arrived, over):
    def stay():
        arrived.release()
        yield stay_until_over(over)

    return stay


# ---- killed


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_calls_on_a_connection_that_is_killed_fail_as_unavailable_and_the_handler_learns_of_it(world, network, reset):
    arrived, over = threading.Semaphore(0), threading.Event()
    proxy = network(world.serve(staying(arrived, over)))
    client = world.connect(proxy.address)
    calls = [client.begin(kind, request()) for kind in ("unary", "server_stream", "bidi")]
    for _ in calls:
        assert arrived.acquire(timeout=PATIENCE)
    proxy.kill(reset=reset)
    assert [call.code() for call in calls] == [grpc.StatusCode.UNAVAILABLE] * 3
    assert over.wait(PATIENCE)


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_after_a_connection_was_killed_calls_go_on_over_a_new_one(our_world, network, reset):
    proxy = network(our_world.serve(polite))
    client = our_world.connect(proxy.address)
    for round_trip in range(1, 4):
        answer = client.call("unary", request("Ann"), wait_for_ready=True)
        assert answer.messages == ["Hello, Ann!"]
        assert proxy.accepted == round_trip
        proxy.kill(reset=reset)
        _until_lost(client)


def _until_lost(client):
    """Wait until the channel has noticed that its connection is gone."""
    until = time.monotonic() + PATIENCE
    while any(connection.transport is not None for connection in client.channel._driver.core._pool.subchannels):
        assert time.monotonic() < until, "the channel does not notice that its connection is gone"
        time.sleep(0.01)


# ---- the server ends


def test_an_idle_connection_notices_that_its_peer_closed(our_world):
    """Without a call: the next one finds a new connection and does not fail on the old."""
    server, port = our_world.start_server(polite)
    client = our_world.connect(f"127.0.0.1:{port}")
    assert client.call("unary", request()).code.name == "OK"
    our_world.stop(server)
    _until_lost(client)


def test_a_restart_between_two_calls_is_not_seen(our_world):
    server, port = our_world.start_server(polite)
    client = our_world.connect(f"127.0.0.1:{port}")
    for kind in ("unary", "server_stream", "client_stream", "bidi"):
        assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
        our_world.stop(server)
        server, _ = our_world.start_server(polite, address=f"127.0.0.1:{port}")
        answer = client.call(kind, request("Ann"))
        assert (answer.code.name, answer.messages, answer.details) == ("OK", ["Hello, Ann!"], "")


def test_a_stop_with_grace_lets_running_calls_finish(world):
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def wait():
        arrived.release()
        yield wait_for(go_on)
        yield greet((yield READ))

    server, port = world.start_server(wait)
    client = world.connect(f"127.0.0.1:{port}")
    running = [client.begin("server_stream", request(str(i))) for i in range(3)]
    for _ in running:
        assert arrived.acquire(timeout=PATIENCE)
    stopper = threading.Thread(target=world.stop, args=(server, PATIENCE))
    stopper.start()
    time.sleep(0.1)  # the stop has begun, most likely; if not the test is only easier
    go_on.set()
    assert [call.read().message for call in running] == [f"Hello, {i}!" for i in range(3)]
    assert [call.read() for call in running] == [None] * 3
    stopper.join(PATIENCE)
    assert not stopper.is_alive()


def test_after_the_grace_running_calls_are_cancelled(world):
    arrived, over = threading.Semaphore(0), threading.Event()
    server, port = world.start_server(staying(arrived, over))
    call = world.connect(f"127.0.0.1:{port}").begin("server_stream", request())
    assert arrived.acquire(timeout=PATIENCE)
    world.stop(server, 0.2)
    assert over.wait(PATIENCE)
    assert call.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN}


def test_a_server_that_stops_takes_no_new_calls(world):
    arrived, over = threading.Semaphore(0), threading.Event()
    server, port = world.start_server(staying(arrived, over))
    client = world.connect(f"127.0.0.1:{port}")
    running = client.begin("server_stream", request())
    assert arrived.acquire(timeout=PATIENCE)
    stopper = threading.Thread(target=world.stop, args=(server, PATIENCE))
    stopper.start()
    until = time.monotonic() + PATIENCE
    while (code := client.call("unary", request(), timeout=0.5).code) is not grpc.StatusCode.UNAVAILABLE:
        assert time.monotonic() < until, f"new calls still end with {code}"
    running.cancel()
    stopper.join(PATIENCE)
    assert not stopper.is_alive()


def test_wait_for_termination_ends_with_the_server(our_world):
    server, _ = our_world.start_server(polite)
    done = threading.Event()

    def wait():
        if our_world.loop is None:
            server.wait_for_termination()
        else:
            our_world.loop.run(server.wait_for_termination())
        done.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not done.wait(0.1)
    our_world.stop(server)
    assert done.wait(PATIENCE)
    waiter.join()


def test_a_server_can_be_stopped_twice(world):
    server, _ = world.start_server(polite)
    world.stop(server, 1)
    world.stop(server)


# ---- dropped calls


@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_an_unfinished_call_that_nobody_holds_any_more_is_cancelled_on_the_server(our_world, kind):
    """As in grpcio's threads; its asyncio leaves such a call to its deadline."""
    over = threading.Event()
    client = our_world.connect(our_world.serve(greet_and_stay(over)))
    call = client.begin(kind, request("Ann"), timeout=None)
    assert call.read().message == "Hello, Ann!"
    if kind == "bidi":
        call.done_writing()
    del call
    gc.collect()
    assert over.wait(PATIENCE / 3), "the handler does not learn that its client is gone"


def test_a_thousand_dropped_calls_leave_nothing_behind(our_world):
    client = our_world.connect(our_world.serve(polite, threads=4))
    for _ in range(1000):
        assert client.begin("server_stream", request(count=3)).read() is not None
    gc.collect()
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_calls_that_wait_for_their_connection_are_cancelled_when_the_channel_is_closed(our_world):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = our_world.connect(f"127.0.0.1:{silent.getsockname()[1]}")
        calls = [client.begin(kind, request()) for kind in ("unary", "server_stream")]
        peer, _ = silent.accept()
        client.close()
        assert [call.code() for call in calls] == [grpc.StatusCode.CANCELLED] * 2
        peer.close()


def test_a_started_server_that_nobody_holds_any_more_stops():
    server = rpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    thread = server._thread
    socket.create_connection(("127.0.0.1", port)).close()
    del server
    gc.collect()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
