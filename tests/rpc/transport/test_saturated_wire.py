"""Connections to a server with few streams that end, and limits that change, byte by byte (gRFC A105)."""

from __future__ import annotations

import struct
import threading

import grpc

from tests.rpc import frames
from tests.rpc.frames import GOAWAY, SETTINGS, frame
from tests.rpc.saturation import TWO_STREAMS_SETTING, at_most, endpoint_of, queued
from tests.rpc.script import PATIENCE, request
from tests.rpc.tls.ends import until


def staying(together, go, hang_up):
    """A raw server: two streams on each connection, answered at ``go``; the second connection ends at ``hang_up``."""

    def script(connection, number):
        connection.greet(TWO_STREAMS_SETTING)
        streams = [connection.request(), connection.request()]
        together.release(2)
        if number == 2:
            assert hang_up.wait(PATIENCE)
            connection.socket.shutdown(2)
            return
        assert go.wait(PATIENCE)
        for stream in streams:
            connection.reply(stream)
        connection.serve_on()

    return script


def test_a_connection_that_is_lost_among_several_fails_its_calls_only(our_world, start):
    together, go, hang_up = threading.Semaphore(0), threading.Event(), threading.Event()
    client = our_world.connect(start(staying(together, go, hang_up)).address, at_most(3))
    calls = [client.begin("server_stream", request(str(number))) for number in range(6)]
    for _ in calls:
        assert together.acquire(timeout=PATIENCE)
    hang_up.set()
    until(lambda: len(endpoint_of(client).transports) == 2)
    go.set()
    lost = 0
    for call in calls:
        try:
            assert call.read().message == "hi"
            assert call.read() is None
        except grpc.RpcError as error:
            lost += error.code() is grpc.StatusCode.UNAVAILABLE
    assert lost == 2
    assert client.call("unary", request()).messages == ["hi"]


def test_when_all_connections_are_lost_who_waits_goes_on_over_a_new_one(our_world, start):
    together, hang_up = threading.Semaphore(0), threading.Event()

    def script(connection, number):
        connection.greet(TWO_STREAMS_SETTING)
        if number > 2:
            connection.serve_on()
            return
        connection.request()
        connection.request()
        together.release(2)
        assert hang_up.wait(PATIENCE)
        connection.socket.shutdown(2)

    client = our_world.connect(start(script).address, at_most(2))
    running = [client.begin("server_stream", request(str(number))) for number in range(4)]
    for _ in running:
        assert together.acquire(timeout=PATIENCE)
    waiting = [client.begin(kind, request(kind)) for kind in ("unary", "server_stream")]
    queued(client, 2)
    hang_up.set()
    assert [call.code().name for call in running] == ["UNAVAILABLE"] * 4
    assert waiting[1].read().message == "hi"
    assert waiting[1].read() is None
    assert [call.code().name for call in waiting] == ["OK"] * 2


def test_a_connection_that_goes_away_is_replaced_by_another_while_calls_wait(our_world, start):
    """GOAWAY with calls in progress: they finish there, and the place of the connection is free for another one."""
    together, leave, go = threading.Semaphore(0), threading.Event(), threading.Event()

    def script(connection, number):
        connection.greet(TWO_STREAMS_SETTING)
        streams = [connection.request(), connection.request()]
        together.release(2)
        if number == 1:
            assert leave.wait(PATIENCE)
            connection.send(frame(GOAWAY, body=struct.pack(">II", max(streams), 0)))
        assert go.wait(PATIENCE)
        for stream in streams:
            connection.reply(stream)
        connection.serve_on()

    server = start(script)
    client = our_world.connect(server.address, at_most(2))
    calls = [client.begin("server_stream", request(str(number))) for number in range(4)]
    for _ in calls:
        assert together.acquire(timeout=PATIENCE)
    calls += [client.begin("server_stream", request(str(number))) for number in (4, 5)]
    queued(client, 2)
    leave.set()
    assert together.acquire(timeout=PATIENCE), "the calls that waited do not go to a third connection"
    go.set()
    assert [call.read().message for call in calls] == ["hi"] * 6
    assert server.accepted == 3


def test_a_limit_that_is_raised_lets_who_waits_go_on(our_world, start):
    both, raised = threading.Event(), threading.Event()

    def script(connection, _):
        connection.greet(TWO_STREAMS_SETTING)
        streams = [connection.request(), connection.request()]
        both.set()
        assert raised.wait(PATIENCE)
        connection.send(frame(SETTINGS, body=struct.pack(">HI", 0x3, 9)))
        streams += [connection.request(), connection.request()]
        for stream in streams:
            connection.reply(stream)
        connection.serve_on()

    server = start(script)
    client = our_world.connect(server.address, [*at_most(2), ("grpc.enable_http_proxy", 0)])
    endpoint = None
    calls = [client.begin("server_stream", request(str(number))) for number in range(2)]
    assert both.wait(PATIENCE)
    endpoint = endpoint_of(client)
    endpoint.bound = 1  # no other way is left to those who come now
    calls += [client.begin("server_stream", request(str(number))) for number in (2, 3)]
    queued(client, 2)
    raised.set()
    assert [call.read().message for call in calls] == ["hi"] * 4
    assert server.accepted == 1


def test_calls_that_wait_are_not_failed_by_a_further_connection_that_cannot_be_made(our_world, start):
    both, go = threading.Event(), threading.Event()

    def script(connection, number):
        if number > 1:
            connection.close()
            return
        connection.greet(TWO_STREAMS_SETTING)
        streams = [connection.request(), connection.request()]
        both.set()
        assert go.wait(PATIENCE)
        for stream in streams:
            connection.reply(stream)
        connection.serve_on()

    server = start(script)
    client = our_world.connect(server.address)
    calls = [client.begin("server_stream", request(str(number))) for number in range(2)]
    assert both.wait(PATIENCE)
    calls += [client.begin("server_stream", request(str(number))) for number in (2, 3)]
    until(lambda: endpoint_of(client).error is not None, "no further connection is tried")
    assert client.channel._driver.core.connectivity() is grpc.ChannelConnectivity.READY
    go.set()
    assert [call.read().message for call in calls] == ["hi"] * 4


def test_a_further_connection_is_tried_again_after_the_back_off(our_world, start):
    together, go = threading.Semaphore(0), threading.Event()

    def script(connection, number):
        if number == 2:
            connection.close()
            return
        connection.greet(TWO_STREAMS_SETTING)
        streams = [connection.request(), connection.request()]
        together.release(2)
        assert go.wait(PATIENCE)
        for stream in streams:
            connection.reply(stream)
        connection.serve_on()

    options = [*at_most(2), ("grpc.initial_reconnect_backoff_ms", 200)]
    client = our_world.connect(start(script).address, options)
    calls = [client.begin("server_stream", request(str(number))) for number in range(4)]
    for _ in calls:
        assert together.acquire(timeout=PATIENCE), "no further connection is tried again"
    go.set()
    assert [call.read().message for call in calls] == ["hi"] * 4


def test_a_stream_refused_all_the_same_goes_out_once_more(our_world, start):
    """The server's word counts, also where it allows more than it takes."""
    seen = []

    def script(connection, _):
        connection.greet(TWO_STREAMS_SETTING)
        while (stream := connection.request()) is not None:
            seen.append(stream)
            if len(seen) == 1:
                connection.send(frame(frames.RST_STREAM, stream, struct.pack(">I", frames.REFUSED)))
            else:
                connection.reply(stream)

    client = our_world.connect(start(script).address)
    assert client.call("unary", request()).messages == ["hi"]
    assert len(seen) == 2
