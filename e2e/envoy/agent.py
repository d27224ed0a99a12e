"""What pilot-agent does for a sidecar: gets a certificate from istiod and hands it to Envoy over SDS.

Run as ``python -m e2e.envoy.agent``, in the pod. Nothing of ours is in it: these sidecars are the tests' control.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from e2e.mesh import Mesh

SERVER_NAME = "istiod.istio-system.svc"  # in istiod's certificate, wherever it is
_CREATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


def sign(istiod: str, root: bytes, token: str) -> tuple[bytes, bytes, bytes]:
    """Private key, certificate chain and roots, all PEM, by a CSR to istiod's CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    csr = request.public_bytes(serialization.Encoding.PEM)
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(istiod, grpc.ssl_channel_credentials(root), options) as channel:
        create = channel.unary_unary(_CREATE, request_serializer=_certificate_request, response_deserializer=_chain)
        metadata = (("authorization", f"Bearer {token}"), ("clusterid", "Kubernetes"))
        chain = create(csr, metadata=metadata, timeout=20.0, wait_for_ready=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, b"".join(chain[:-1]), chain[-1]


def _certificate_request(csr: bytes) -> bytes:
    """istio.v1.auth.IstioCertificateRequest: csr = 1 (string), validity_duration = 3 (int64, seconds)."""
    return b"\x0a" + _varint(len(csr)) + csr + b"\x18" + _varint(86400)


def _chain(response: bytes) -> list[bytes]:
    """istio.v1.auth.IstioCertificateResponse: cert_chain = 1 (repeated string), leaf first, root last."""
    found = []
    while response:
        size, length = 0, 1
        while True:
            size |= (response[length] & 0x7F) << 7 * (length - 1)
            length += 1
            if not response[length - 1] & 0x80:
                break
        found.append(response[length : length + size])
        response = response[length + size :]
    return [one if one.endswith(b"\n") else one + b"\n" for one in found]


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


class SecretService(grpc.GenericRpcHandler):
    """`SecretDiscoveryService` for what a sidecar asks: ``default`` and ``ROOTCA``."""

    def __init__(self, key: bytes, chain: bytes, roots: bytes) -> None:
        default = secret_pb2.Secret(name="default")
        default.tls_certificate.certificate_chain.inline_bytes = chain
        default.tls_certificate.private_key.inline_bytes = key
        rootca = secret_pb2.Secret(name="ROOTCA")
        rootca.validation_context.trusted_ca.inline_bytes = roots
        self._secrets = {secret.name: secret for secret in (default, rootca)}
        self._ended = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets":
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DiscoveryResponse.SerializeToString,
        )

    def _stream(
        self, requests: Iterable[discovery_pb2.DiscoveryRequest], context: grpc.ServicerContext
    ) -> Iterator[discovery_pb2.DiscoveryResponse]:
        numbers = itertools.count(1)
        answered: set[str] = set()
        for request in requests:
            if request.HasField("error_detail"):
                print("refused by Envoy:", request.error_detail.message, flush=True)
                continue
            new = [name for name in request.resource_names if name in self._secrets and name not in answered]
            if not new:
                continue
            answered.update(new)
            response = discovery_pb2.DiscoveryResponse(version_info="1", type_url=_SECRET, nonce=str(next(numbers)))
            for name in new:
                response.resources.add().Pack(self._secrets[name])
            yield response


def agent_command(mesh: Mesh, token: Path) -> list[str]:
    """To be completed by ``--listen`` or ``--write``."""
    command = [sys.executable, "-m", "e2e.envoy.agent", "--istiod", mesh.secure_address]
    return [*command, "--root", str(mesh.root), "--token", str(token)]


def serve(path: str, key: bytes, chain: bytes, roots: bytes) -> None:
    server: Any = grpc.server(futures.ThreadPoolExecutor(64))
    server.add_generic_rpc_handlers([SecretService(key, chain, roots)])
    server.add_insecure_port(f"unix:{path}")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    print("ready", flush=True)
    ended.wait()
    server.stop(0.5).wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.envoy.agent", description=__doc__)
    parser.add_argument("--istiod", required=True, metavar="HOST:PORT", help="its port for CSRs")
    parser.add_argument("--root", required=True, type=Path, metavar="FILE", help="the mesh root, PEM")
    parser.add_argument("--token", required=True, type=Path, metavar="FILE")
    parser.add_argument("--listen", metavar="PATH", help="serve secrets on this Unix socket")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="key.pem, certificate.pem and roots.pem, and end")
    given = parser.parse_args()
    key, chain, roots = sign(given.istiod, given.root.read_bytes(), given.token.read_text())
    if given.write:
        for name, data in (("key", key), ("certificate", chain), ("roots", roots)):
            (given.write / f"{name}.pem").write_bytes(data)
    if given.listen:
        serve(given.listen, key, chain, roots)


if __name__ == "__main__":
    main()
