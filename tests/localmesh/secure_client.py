"""A workload on the secure port: a TLS channel with or without a certificate, CSRs, ADS. Reads with upb."""

from __future__ import annotations

from queue import SimpleQueue

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from localmesh.ca.messages import CertificateRequest, CertificateResponse
from localmesh.serve.certificates import METHOD as CREATE
from localmesh.serve.streams import METHOD as ADS

NODE = "sidecar~127.0.0.9~pod-1.demo~demo.svc.cluster.local"
WEB = "spiffe://cluster.local/ns/demo/sa/web"


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def csr(key, subject=()):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    lie = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/kube-system/sa/root")])
    signed = request.add_extension(lie, critical=True).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Workload:
    """``certificate`` is a pair of PEM texts, chain and key."""

    def __init__(self, mesh, token=None, certificate=None, host="istiod.istio-system.svc", **metadata):
        chain, key = certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(mesh.root_certificate, key, chain)
        options = [("grpc.ssl_target_name_override", host), ("grpc.use_local_subchannel_pool", 1)]
        self.channel = grpc.secure_channel(mesh.secure_address, credentials, options)
        self.metadata = [*metadata.items()] + ([("authorization", f"Bearer {token}")] if token else [])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def create(self, csr, seconds=0, **fields):
        method = self.channel.unary_unary(
            CREATE,
            request_serializer=lambda given: given if isinstance(given, bytes) else given.SerializeToString(),
            response_deserializer=CertificateResponse.FromString,
        )
        request = csr
        if isinstance(csr, bytes):
            request = CertificateRequest(csr=csr.decode("latin-1"), validity_duration=seconds, **fields)
        return method(request, metadata=self.metadata, timeout=30).cert_chain

    def create_raw(self, request):
        """Bytes that need not be a message at all."""
        return self.channel.unary_unary(CREATE)(request, metadata=self.metadata, timeout=30)

    def join(self):
        """A certificate for a new key: chain and key as PEM."""
        key = new_key()
        *chain, _ = self.create(csr(key))
        return "".join(chain).encode(), key_pem(key)

    def stream(self, node=NODE, **metadata):
        return Stream(self, node, metadata)


class Stream:
    def __init__(self, workload, node, metadata):
        self.requests = SimpleQueue()
        method = workload.channel.stream_stream(
            ADS,
            request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )
        self.node = Node(id=node)
        self.node.metadata.update(metadata)
        self.call = method(iter(self.requests.get, None), metadata=workload.metadata, timeout=30)

    def ask(self, type_url, *subscribe):
        request = DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=subscribe, node=self.node)
        self.requests.put(request)
        return self.read()

    def read(self):
        return next(self.call)


def refusal(call):
    """Status code and details of a call that must fail."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError(f"answered with {answer!r}")
