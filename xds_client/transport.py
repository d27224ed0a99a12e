"""The wire under the session: one bidirectional stream of bytes, over grpcio.

A stream's own threads call `StreamEvents`; the exchanger's thread calls `AdsStream`. Nothing here knows xDS.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_TIMEOUT = 20.0

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # CDS of a large mesh is one message
    ("grpc.keepalive_time_ms", 30_000),  # as pilot-agent does: a dead istiod is noticed although the stream is quiet
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the old one's connection back-off
    ("grpc.enable_http_proxy", 0),  # the control plane is inside the cluster
)


class StreamEvents(Protocol):
    """What a stream reports, in this order: opened at most once, received any number of times, closed once."""

    def opened(self) -> None:
        """What is sent from now on goes on the wire at once."""

    def received(self, data: bytes) -> None:
        """One message. The next comes only after `AdsStream.read`."""

    def closed(self, reason: str) -> None:
        """The stream is over, or never came to be."""


class AdsStream(Protocol):
    def send(self, data: bytes) -> None:
        """Queue a message; never blocks, never raises."""

    def read(self) -> None:
        """The last message is dealt with; the next may come (this is the flow control)."""

    def close(self) -> None:
        """End it; `StreamEvents.closed` may still follow."""


class AdsTransport(Protocol):
    address: str

    def connect(self, method: str, events: StreamEvents) -> AdsStream:
        """Start opening a stream and return at once."""


class GrpcTransport:
    """Plaintext grpcio. Every stream has a channel of its own, so that the schedule of reconnecting is ours alone."""

    def __init__(self, address: str) -> None:
        self.address = address

    def connect(self, method: str, events: StreamEvents) -> AdsStream:
        return _GrpcStream(grpc.insecure_channel(self.address, options=_CHANNEL_OPTIONS), method, events)


class _GrpcStream:
    """One thread pumps what arrives. grpcio takes requests from the queue on a thread of its own."""

    def __init__(self, channel: grpc.Channel, method: str, events: StreamEvents) -> None:
        self._channel = channel
        # Without serializers: bytes in, bytes out.
        self._call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        self._events = events
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._may_read = threading.Semaphore(0)
        self._settled = threading.Event()
        self._ready = False
        self._closing = False
        self._pump = threading.Thread(target=self._run, name="xds-stream", daemon=True)
        self._pump.start()

    def send(self, data: bytes) -> None:
        self._requests.put(data)

    def read(self) -> None:
        self._may_read.release()

    def close(self) -> None:
        self._closing = True
        self._settled.set()
        self._requests.put(None)
        self._may_read.release()
        self._channel.close()  # cancels the call
        if threading.current_thread() is not self._pump:
            self._pump.join(timeout=1.0)

    def _run(self) -> None:
        try:
            reason = self._talk() if self._connected() else self._refusal()
        except grpc.RpcError as error:
            reason = _reason(error)
        except ValueError as error:  # grpcio's "Cannot invoke RPC on closed channel!"
            reason = str(error)
        self._requests.put(None)
        if not self._closing:
            self._channel.close()
        self._events.closed(reason)

    def _connected(self) -> bool:
        """Wait until requests would go on the wire at once: the clock of "does not exist" must not run before."""
        self._channel.subscribe(self._on_connectivity, try_to_connect=True)
        self._settled.wait(CONNECT_TIMEOUT)
        self._channel.unsubscribe(self._on_connectivity)
        return self._ready and not self._closing

    def _on_connectivity(self, state: grpc.ChannelConnectivity) -> None:
        if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            self._ready = state is grpc.ChannelConnectivity.READY
            self._settled.set()

    def _talk(self) -> str:
        call = self._call(iter(self._requests.get, None))
        self._events.opened()
        for data in call:
            self._events.received(data)
            self._may_read.acquire()
            if self._closing:
                break
        return "the control plane ended the stream"

    def _refusal(self) -> str:
        """Why there is no connection. Connectivity is a bare state; only a call that fails says the reason."""
        if self._closing:
            return "closed"
        nothing: Iterator[bytes] = iter(())
        for _ in self._call(nothing, timeout=1.0):
            break
        return "no connection"


def _reason(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
