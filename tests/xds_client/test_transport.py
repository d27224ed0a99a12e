"""The stream, by grpcio and by our engine: when it counts as open, that it reads only on demand, and that it ends."""

from __future__ import annotations

import gc
import queue
import socket
import sys
import time
import traceback

import pytest

from tests.xds_client.engines import both
from tests.xds_client.mesh import cluster, endpoints, response
from xds_client import ResourceType
from xds_client.codec import DeltaRequest, decode_delta_response
from xds_client.session import DeltaSession
from xds_client.transport import GrpcTransport

METHOD = DeltaSession.method


class Events(queue.Queue):
    def opened(self):
        self.put(("opened",))

    def received(self, data):
        self.put(("received", decode_delta_response(data)))

    def closed(self, reason):
        self.put(("closed", reason))

    def next(self):
        return self.get(timeout=10)


@both
def channels(request):
    return request.param


@pytest.fixture
def connect(channels):
    streams = []

    def start(address):
        events = Events()
        streams.append(GrpcTransport(address, channels=channels).connect(METHOD, events))
        return streams[-1], events

    yield start
    for stream in streams:
        stream.close()


def test_opened_comes_first_and_each_message_after_it_was_asked_for(start_server, connect, node):
    server = start_server(cluster("a"))
    stream, events = connect(server.address)
    stream.send(DeltaRequest(ResourceType.CLUSTER, subscribe=("*",), node=node).encode())
    assert events.next() == ("opened",)
    kind, first = events.next()
    assert (kind, [r.name for r in first.resources]) == ("received", ["a"])
    server.put(cluster("b"))
    stream.send(DeltaRequest(ResourceType.ENDPOINT, subscribe=("e",)).encode())
    server.next_request(of=lambda r: r.type_url == ResourceType.ENDPOINT.value)
    assert events.empty(), "both were answered, and neither was asked for"
    stream.read()
    assert [r.name for r in events.next()[1].resources] == ["b"]


def test_a_peer_that_accepts_and_says_nothing_is_not_an_open_stream(connect, node):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stream, events = connect(f"127.0.0.1:{silent.getsockname()[1]}")
        stream.send(DeltaRequest(ResourceType.CLUSTER, subscribe=("*",), node=node).encode())
        peer, _ = silent.accept()
        with peer:
            assert peer.recv(3) == b"PRI", "it has connected and greets"
            assert events.empty()
            stream.close()
        assert events.next()[0] == "closed"


def test_a_refused_connection_says_why(connect):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    _, events = connect(f"127.0.0.1:{port}")
    kind, reason = events.next()
    assert kind == "closed"
    assert "UNAVAILABLE" in reason
    assert "refused" in reason


def test_a_server_that_ends_the_stream_is_noticed(start_server, connect, node):
    server = start_server()
    stream, events = connect(server.address)
    stream.send(DeltaRequest(ResourceType.ENDPOINT, subscribe=("e",), node=node).encode())
    assert events.next() == ("opened",)
    assert events.next()[0] == "received"
    stream.read()
    server.stop()
    assert events.next()[0] == "closed"


def test_a_message_larger_than_grpcs_default_limit_passes(start_server, connect, node):
    addresses = [f"10.{i >> 8 & 255}.{i & 255}.1" for i in range(65_000)] * 4
    server = start_server()
    stream, events = connect(server.address)
    stream.send(DeltaRequest(ResourceType.ENDPOINT, subscribe=("e",), node=node).encode())
    assert events.next() == ("opened",)
    assert events.next()[0] == "received"
    stream.read()
    large = response(ResourceType.ENDPOINT, endpoints("e", *addresses))
    assert large.ByteSize() > 4 << 20
    server.send(large)
    assert len(events.next()[1].resources[0].data) > 4 << 20


def test_a_stream_without_a_thread_leaves_nothing_behind(start_server, channels, monkeypatch):
    def none_left(*_):
        raise RuntimeError("can't start new thread")

    server, opened = start_server(cluster("a")), []

    class Recorded:
        def insecure(self, address, options):
            opened.append(channels.insecure(address, options))
            return opened[-1]

    monkeypatch.setattr("xds_client.transport.must_begin", none_left)
    with pytest.raises(RuntimeError, match="new thread"):
        GrpcTransport(server.address, channels=Recorded()).connect(METHOD, Events())
    with pytest.raises(ValueError, match="closed"):
        opened[0].unary_unary("/any/Method")(b"")
    patience = time.monotonic() + 20
    while (held := _asking()) and time.monotonic() < patience:
        time.sleep(0.01)
    assert not held, "the thread that takes requests is let go"


def _asking():
    """How many threads wait for requests of a stream."""
    # CPython 3.11 may collect garbage in there while it holds a lock that other threads need to go on, and hang.
    gc.disable()
    try:
        tops = sys._current_frames().values()
    finally:
        gc.enable()
    frames = [frame for top in tops for frame, _ in traceback.walk_stack(top)]
    return sum(frame.f_code.co_name == "_outgoing" for frame in frames)


def test_a_stream_whose_reading_breaks_says_so(start_server, connect, node, monkeypatch):
    class Breaking(Events):
        def received(self, data):
            raise MemoryError

    server, events = start_server(cluster("a")), Breaking()
    stream = GrpcTransport(server.address).connect(METHOD, events)
    stream.send(DeltaRequest(ResourceType.CLUSTER, subscribe=("*",), node=node).encode())
    assert events.next() == ("opened",)
    assert events.next() == ("closed", "MemoryError: ")
    stream.close()
