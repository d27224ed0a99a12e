"""The gRPC side: one thread per stream, fed by a queue of requests and pushes; and the set of all streams.

gRPC's threads run `Streams.serve`; any thread may publish. The lock guards the set's structure and what is published,
and is never held across I/O.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

import grpc

from localmesh import xds
from localmesh.serve.callers import Unauthenticated, Unauthorized
from localmesh.serve.node import InvalidNode
from localmesh.serve.reading import Unreadable, parsed, read_into
from localmesh.serve.session import ANYBODY, DeltaSession, Membership, Published, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localmesh.serve.callers import Caller
    from localmesh.serve.doors import Door
    from localmesh.serve.secrets import Secrets

log = logging.getLogger("proxyless.localmesh")

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_KEPT_REJECTIONS = 1000
_CODES = {
    InvalidNode: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthorized: grpc.StatusCode.PERMISSION_DENIED,
    Unreadable: grpc.StatusCode.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class _Push:
    published: Published
    sent: threading.Event = field(default_factory=threading.Event)


_Request = xds.discovery.DeltaDiscoveryRequest
_Response = xds.discovery.DeltaDiscoveryResponse
_Event = bytes | _Push | None  # bytes: a request; None: the stream is over


class AdsService(grpc.GenericRpcHandler):
    """The streams as one door's gRPC server offers them."""

    def __init__(self, streams: Streams, door: Door) -> None:
        self._streams = streams
        self._door = door

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        if handler_call_details.method != METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self._streams.serve(requests, context, self._door),
            request_deserializer=None,  # a failing one would leave the call in grpcio's books for good
            response_serializer=_Response.SerializeToString,
        )


class Streams:
    """All ADS streams, whichever door they came in by."""

    def __init__(self, published: Published, secrets: Secrets) -> None:
        self._secrets = secrets
        self._lock = threading.Lock()
        self._published = published
        self._queues: set[SimpleQueue[_Event]] = set()
        self._nonces = count(1)
        self._rejections: list[Rejection] = []

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        with self._lock:
            return tuple(self._rejections)

    @property
    def open_streams(self) -> int:
        with self._lock:
            return len(self._queues)

    def publish(self, published: Published, timeout: float | None) -> bool:
        """Push to every stream; with a time-out, wait until all of them were written (False: some were not)."""
        with self._lock:
            self._published = published
            pushes = []
            for queue in self._queues:
                pushes.append(_Push(published))
                queue.put(pushes[-1])
        if timeout is None:
            return True
        deadline = monotonic() + timeout
        return all(push.sent.wait(max(0.0, deadline - monotonic())) for push in pushes)

    def serve(
        self, requests: Iterator[bytes], context: grpc.ServicerContext, door: Door
    ) -> Iterator[xds.discovery.DeltaDiscoveryResponse]:
        """One stream, from a thread of gRPC's."""
        try:
            caller = door.caller(context)
        except Unauthenticated as error:
            log.warning("ADS: %s: refused: authentication failure: %s", door.address(context), error)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "authentication failure")
        queue: SimpleQueue[_Event] = SimpleQueue()
        if not context.add_callback(lambda: queue.put(None)):
            return
        with self._lock:
            session = DeltaSession(self._published, self._new_nonce, self._reject, self._membership(caller))
            self._queues.add(queue)
        reader = threading.Thread(target=read_into, args=(requests, queue), name="localmesh-stream-reader", daemon=True)
        reader.start()
        try:
            yield from self._responses(session, queue, context, door)
        finally:
            with self._lock:
                self._queues.discard(queue)
            _let_go(queue)

    def _membership(self, caller: Caller | None) -> Membership:
        if caller is None:
            return ANYBODY
        return Membership(caller.check, lambda name: self._secrets.secret(caller.identities[0], name))

    def repeat(self) -> None:
        """Push what is published once more: something that it refers to, a secret, has changed."""
        with self._lock:
            for queue in self._queues:
                queue.put(_Push(self._published))

    def _responses(
        self, session: DeltaSession, queue: SimpleQueue[_Event], context: grpc.ServicerContext, door: Door
    ) -> Iterator[xds.discovery.DeltaDiscoveryResponse]:
        while (event := queue.get()) is not None:
            if isinstance(event, _Push):
                try:
                    # resumed when the last one was written
                    yield from self._answers(partial(session.push, event.published))
                finally:
                    event.sent.set()
            else:
                try:
                    responses = self._answers(partial(session.receive, parsed(_Request, event)))
                except (InvalidNode, Unauthorized, Unreadable) as error:
                    log.warning("ADS: %s: refused: %s", door.address(context), error)
                    context.abort(_CODES[type(error)], str(error))
                yield from responses

    def _answers(
        self, make: Callable[[], list[xds.discovery.DeltaDiscoveryResponse]]
    ) -> list[xds.discovery.DeltaDiscoveryResponse]:
        try:
            return make()
        except (InvalidNode, Unauthorized):
            raise
        except Exception:  # a fault of the compiler's ends no stream: the client goes on with what it has
            log.exception("version %s: no answer could be made, clients keep what they have", self._published.version)
            return []

    def _new_nonce(self) -> str:
        return f"{self._published.version}-{next(self._nonces)}"

    def _reject(self, rejection: Rejection) -> None:
        log.warning("%s rejected %s: %s", rejection.node, rejection.type_url, rejection.reason)
        with self._lock:
            self._rejections.append(rejection)
            del self._rejections[:-_KEPT_REJECTIONS]


def _let_go(queue: SimpleQueue[_Event]) -> None:
    """Nobody waits for pushes that this stream will not send any more."""
    while not queue.empty():
        event = queue.get()
        if isinstance(event, _Push):
            event.sent.set()
