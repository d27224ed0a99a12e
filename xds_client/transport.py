"""The wire under the session: one bidirectional stream of bytes, over a gRPC channel.

A stream's own threads call `StreamEvents`; the exchanger's thread calls `AdsStream`. Nothing here knows xDS.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

import grpc

from xds_client.channels import CHANNEL_OPTIONS, GRPCIO, Channels
from xds_client.errors import IdentityError
from xds_client.identity.stream_access import Opening
from xds_client.threads import must_begin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xds_client.identity.stream_access import StreamAccess

logger = logging.getLogger(f"proxyless.{__name__}")


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
    """Over TLS if there is an access to istiod, else in plaintext on one of ``channels``.

    Every stream has a channel of its own, so that the schedule of reconnecting is ours alone, and so that each shows
    the token or certificate of its day; the one in progress stays when they change.
    """

    def __init__(self, address: str, access: StreamAccess | None = None, channels: Channels = GRPCIO) -> None:
        self.address = address
        self._access = access
        self._channels = channels

    def connect(self, method: str, events: StreamEvents) -> AdsStream:
        if self._access is None:
            channel = self._channels.insecure(self.address, CHANNEL_OPTIONS)
            return _GrpcStream(Opening(channel, (), _ended), method, events)
        try:
            return _GrpcStream(self._access.open(), method, events)
        except IdentityError as error:
            events.closed(str(error))
            return _NoStream()


class _NoStream:
    """One that never came to be, because there was nothing to show to the control plane, or nobody to believe."""

    def send(self, data: bytes) -> None:
        pass

    def read(self) -> None:
        pass

    def close(self) -> None:
        pass


class _GrpcStream:
    """One thread pumps what arrives. The channel takes requests from the queue on a thread of its own."""

    def __init__(self, opening: Opening, method: str, events: StreamEvents) -> None:
        self._channel = opening.channel
        self._ended = opening.ended
        self._events = events
        self._requests: SimpleQueue[bytes | None] = SimpleQueue()
        self._may_read = threading.Semaphore(0)
        self._opened = False
        self._opening = threading.Lock()
        self._closing = False
        # Without serializers: bytes in, bytes out.
        try:
            call: grpc.StreamStreamMultiCallable[bytes, bytes] = self._channel.stream_stream(method)
            self._responses = call(self._outgoing(), metadata=opening.metadata)
            self._pump = must_begin(self._run, "xds-stream")
        except BaseException:  # no descriptor, no thread: nothing of it stays
            self._requests.put(None)
            self._channel.close()
            raise

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
        """The queue. A channel asks for a message only when the one before has left.

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
        failure: grpc.RpcError | None = None
        bug = ""
        answered = False
        try:
            for data in self._responses:
                answered = True
                self._announce_opened()
                self._events.received(data)
                self._may_read.acquire()
                if self._closing:
                    break
        except grpc.RpcError as error:
            failure = error
        except Exception as error:  # a stream that ends without a word is one that nobody opens again
            logger.exception("reading from the control plane failed")
            bug = f"{type(error).__name__}: {error}"
        self._requests.put(None)  # frees the channel's thread
        self._channel.close()
        self._events.closed(bug or self._ended(failure, answered))


def _ended(error: grpc.RpcError | None, _answered: bool) -> str:
    if error is None:
        return "the control plane ended the stream"
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
