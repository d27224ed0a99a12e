"""istiod's CA as a real gRPC server over TLS: signs CSRs for whoever shows an accepted token or certificate."""

from __future__ import annotations

import threading
from concurrent import futures
from datetime import timedelta

import grpc
from cryptography import x509

from tests.xds_client.identity.authority import SPIFFE_ID, new_key, pem, private_pem
from xds_client.identity.messages import CREATE_CERTIFICATE, CertificateRequest, CertificateResponse

HOST = "istiod.istio-system.svc"
BACKDATED = timedelta(minutes=2)


class Asked:
    """One CSR as it came."""

    def __init__(self, request, context):
        message = CertificateRequest.FromString(request)
        self.csr = x509.load_pem_x509_csr(message.csr.encode())
        self.seconds = message.validity_duration
        self.metadata = dict(context.invocation_metadata())
        self.peer = context.auth_context().get("x509_pem_cert", [b""])[0]


class CaServer:
    """``now`` is the CA's clock. ``tokens``: those it accepts. What it does with a CSR can be replaced: ``answer``."""

    def __init__(self, authority, now, *, port=0, spiffe_id=SPIFFE_ID, by_certificate=False, plaintext=False):
        self.authority = authority
        self.spiffe_id = spiffe_id
        self.tokens = {"good-token"}
        self.asked = []
        self.answer = self.sign
        self.refusal = (grpc.StatusCode.UNAUTHENTICATED, "request authenticate failure")
        self._now = now
        self._by_certificate = by_certificate
        self._ended = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        method = grpc.unary_unary_rpc_method_handler(self._create)
        service, name = CREATE_CERTIFICATE[1:].split("/")
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {name: method})])
        if plaintext:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            key = new_key()
            pair = private_pem(key), pem(authority.issue(key, dns=[HOST, "localhost"]))
            credentials = grpc.ssl_server_credentials([pair], authority.pem, by_certificate)
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self._server.start()

    @property
    def address(self):
        return f"localhost:{self.port}"

    def stop(self):
        self._ended.set()
        self._server.stop(grace=None).wait()

    def sign(self, asked):
        """The good answer: the chain, leaf first and root last."""
        return [pem(self.leaf(asked)).decode(), self.authority.pem.decode()]

    def leaf(self, asked, *uris, **changes):
        now = self._now()
        dates = {"not_before": now - BACKDATED, "not_after": now + timedelta(seconds=asked.seconds)}
        return self.authority.issue(asked.csr.public_key(), *(uris or [self.spiffe_id]), **(dates | changes))

    def say_nothing(self, _asked):
        self._ended.wait()
        return []

    def _create(self, request, context):
        asked = Asked(request, context)
        self.asked.append(asked)
        token = asked.metadata.get("authorization", "").removeprefix("Bearer ")
        if not self._by_certificate and token not in self.tokens:
            context.abort(*self.refusal)
        answer = self.answer(asked)
        return answer if isinstance(answer, bytes) else CertificateResponse(cert_chain=answer).SerializeToString()
