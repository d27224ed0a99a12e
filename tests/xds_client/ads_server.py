"""A tiny control plane over real gRPC: delta ADS as istiod speaks it, for tests of the whole exchanger."""

from __future__ import annotations

import itertools
import queue
import threading
from concurrent import futures

import grpc
from envoy.service.discovery.v3 import ads_pb2_grpc

from tests.xds_client.mesh import kind_of, name_of, response
from xds_client.resource_type import ResourceType


class AdsServer(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    """``put`` and ``remove`` change the mesh and push; ``arrived`` has what clients said.

    ``credentials``: over TLS. ``shown`` has what each stream was opened with: metadata, and the peer's certificate.
    ``refusal``: the status that a stream ends with, or None, by its metadata.
    """

    def __init__(self, *messages, port=0, removed_when_unknown=True, credentials=None):
        self._lock = threading.Lock()
        self._resources = {(kind_of(m), name_of(m)): m for m in messages}
        self._streams = []
        self._nonces = itertools.count(1)
        self._removed_when_unknown = removed_when_unknown
        self.arrived = queue.Queue()
        self.shown = queue.Queue()
        self.refusal = lambda metadata: None
        self._server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(self, self._server)
        where = f"127.0.0.1:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(where)
        else:
            self.port = self._server.add_secure_port(where, credentials)
        self._server.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def stop(self):
        for stream in self._streams:
            stream.out.put(None)
        self._server.stop(grace=None).wait()

    def put(self, *messages):
        with self._lock:
            for message in messages:
                self._resources[kind_of(message), name_of(message)] = message
            for stream in self._streams:
                for kind in ResourceType:
                    changed = [m for m in messages if kind_of(m) is kind and stream.wants(kind, name_of(m))]
                    if changed:
                        stream.out.put(response(kind, *changed, nonce=self._nonce()))

    def send(self, answer):
        """Push one response as it is to every stream."""
        with self._lock:
            for stream in self._streams:
                stream.out.put(answer)

    def remove(self, kind, name):
        with self._lock:
            del self._resources[kind, name]
            for stream in self._streams:
                if stream.wants(kind, name):
                    stream.out.put(response(kind, nonce=self._nonce(), removed=[name]))

    def next_request(self, *, of=None, timeout=10):
        """The next request, or the next one that ``of`` accepts."""
        while True:
            request = self.arrived.get(timeout=timeout)
            if of is None or of(request):
                return request

    def DeltaAggregatedResources(self, request_iterator, context):  # noqa: N802 - the method's name in the .proto
        metadata = dict(context.invocation_metadata())
        self.shown.put((metadata, context.auth_context().get("x509_pem_cert", [b""])[0]))
        if refusal := self.refusal(metadata):
            context.abort(*refusal)
        stream = _Stream()
        with self._lock:
            self._streams.append(stream)
        context.add_callback(lambda: stream.out.put(None))
        threading.Thread(target=self._listen, args=(stream, request_iterator), daemon=True).start()
        yield from iter(stream.out.get, None)

    def _listen(self, stream, requests):
        try:
            for request in requests:
                self._answer(stream, request)
                self.arrived.put(request)
        except grpc.RpcError:
            pass
        finally:
            stream.out.put(None)

    def _answer(self, stream, request):
        if request.response_nonce:
            return
        kind = ResourceType(request.type_url)
        with self._lock:
            names = stream.subscribe(kind, request)
            found = [m for (k, name), m in self._resources.items() if k is kind and ("*" in names or name in names)]
            held = {name for name in request.initial_resource_versions if (kind, name) not in self._resources}
            unknown = {n for n in names if n != "*" and (kind, n) not in self._resources}
            if names or held:
                removed = sorted(held | (unknown if self._removed_when_unknown else set()))
                stream.out.put(response(kind, *found, nonce=self._nonce(), removed=removed))

    def _nonce(self):
        return f"n{next(self._nonces)}"


class _Stream:
    def __init__(self):
        self.out = queue.Queue()
        self._subscribed = {}

    def subscribe(self, kind, request):
        """The names to answer now."""
        first = kind not in self._subscribed
        names = self._subscribed.setdefault(kind, set())
        names |= set(request.resource_names_subscribe) | set(request.initial_resource_versions)
        names -= set(request.resource_names_unsubscribe)
        return set(names) if first else set(request.resource_names_subscribe)

    def wants(self, kind, name):
        names = self._subscribed.get(kind, ())
        return "*" in names or name in names
