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

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # CDS of a large mesh is one message
    ("grpc.keepalive_time_ms", 30_000),  # as pilot-agent does: a dead istiod is noticed although the stream is quiet
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),  # the stream is the session's to repeat, not the channel's
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the old one's connection back-off
    ("grpc.enable_http_proxy", 0),  # the control plane is inside the cluster
)


class StreamEvents(Protocol):
    """What a stream reports, in this order: opened at most once, received any number of times, closed once."""

    def opened(self) -> None:
        """There is a connection: what was sent has left, and what is sent from now on leaves at once."""

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
        self._events = events
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._may_read = threading.Semaphore(0)
        self._opened = False
        self._opening = threading.Lock()
        self._closing = False
        # Without serializers: bytes in, bytes out.
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        self._responses = call(self._outgoing())
        self._pump = threading.Thread(target=self._run, name="xds-stream", daemon=True)
        self._pump.start()

    def send(self, data: bytes) -> None:
        self._requests.put(data)

    def read(self) -> None:
        self._may_read.release()

    def close(self) -> None:
        self._closing = True
        self._may_read.release()
        self._channel.close()  # cancels the call, and that ends the pump
        if threading.current_thread() is not self._pump:
            self._pump.join(timeout=1.0)

    def _outgoing(self) -> Iterator[bytes]:
        """The queue. grpcio asks for a message only when the one before has left.

        So its second question is the sign that there is a connection, and nothing else in its API tells: the clock of
        "does not exist" must not run before.
        """
        first = True
        for data in iter(self._requests.get, None):
            yield data
            if first:
                first = False
                self._announce_opened()

    def _announce_opened(self) -> None:
        with self._opening:  # an answer may overtake the sign
            if not self._opened:
                self._opened = True
                self._events.opened()

    def _run(self) -> None:
        reason = "the control plane ended the stream"
        try:
            for data in self._responses:
                self._announce_opened()
                self._events.received(data)
                self._may_read.acquire()
                if self._closing:
                    break
        except grpc.RpcError as error:
            reason = _reason(error)
        self._requests.put(None)  # frees grpcio's thread
        self._channel.close()
        self._events.closed(reason)


def _reason(error: grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
