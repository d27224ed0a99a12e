"""A SPIFFE agent as a real gRPC server on a Unix socket: streams what `send` is given to whoever asks properly."""

from __future__ import annotations

import queue
from concurrent import futures

import grpc

from tests.xds_client.identity.authority import der, private_der
from xds_client.identity.messages import FETCH_X509_SVID, X509SvidResponse

_END = object()


def svid(authority, key, spiffe_id, *, called=None, **dates):
    """An entry of the response: a good one, but for what is said otherwise."""
    return {
        "spiffe_id": called or spiffe_id,
        "x509_svid": der(authority.issue(key, spiffe_id, **dates)),
        "x509_svid_key": private_der(key),
        "bundle": der(authority.certificate),
    }


class WorkloadAgent:
    """``asked``: the metadata of every stream. ``refusal``: the status that the next streams end with at once."""

    def __init__(self, path):
        self.address = f"unix://{path}"
        self.asked = queue.Queue()
        self.refusal = None
        self._out = queue.Queue()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        service, name = FETCH_X509_SVID[1:].split("/")
        method = grpc.unary_stream_rpc_method_handler(self._fetch)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: method})])
        self._server.add_insecure_port(self.address)
        self._server.start()

    def send(self, *svids, federated=()):
        bundles = [{"key": domain, "value": bundle} for domain, bundle in federated]
        self._out.put(X509SvidResponse(svids=svids, federated_bundles=bundles).SerializeToString())

    def send_bytes(self, data):
        self._out.put(data)

    def end(self):
        self._out.put(_END)

    def stop(self):
        self.end()
        self._server.stop(grace=None).wait()

    def _fetch(self, _request, context):
        metadata = dict(context.invocation_metadata())
        self.asked.put(metadata)
        if metadata.get("workload.spiffe.io") != "true":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing from request")
        if self.refusal:
            context.abort(*self.refusal)
        yield from iter(self._out.get, _END)
