"""Secrets for an Envoy: whoever has proven an identity gets its certificate and the roots, by SDS or on ADS."""

from __future__ import annotations

from queue import SimpleQueue

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from localmesh import LocalMesh
from localmesh.serve.secrets import METHOD
from localmesh.serve.session import SECRET
from tests.localmesh.secure_client import WEB, Workload, refusal
from tests.localmesh.yaml_folder import SERVICE, write

OTHER = "spiffe://cluster.local/ns/demo/sa/other"


class Asking:
    """State of the world, as Envoy asks: all names each time."""

    def __init__(self, channel, metadata=()):
        self.requests = SimpleQueue()
        method = channel.stream_stream(
            METHOD,
            request_serializer=lambda request: request if isinstance(request, bytes) else request.SerializeToString(),
            response_deserializer=DiscoveryResponse.FromString,
        )
        self.call = method(iter(self.requests.get, None), metadata=metadata, timeout=30)

    def ask(self, *names, **more):
        self.requests.put(DiscoveryRequest(type_url=SECRET, resource_names=names, **more))

    def read(self):
        response = next(self.call)
        assert response.type_url == SECRET
        secrets = [Secret.FromString(resource.value) for resource in response.resources]
        return {secret.name: secret for secret in secrets}, response


@pytest.fixture
def mesh(tmp_path):
    with LocalMesh(write(tmp_path / "mesh", service=SERVICE), watch=False) as mesh:
        yield mesh


@pytest.fixture
def web(mesh):
    with Workload(mesh, mesh.token("demo", "web")) as workload:
        yield workload


def identity(secret):
    """Whose the certificate is; its key must fit."""
    pair = secret.tls_certificate
    leaf = x509.load_pem_x509_certificates(pair.certificate_chain.inline_bytes)[0]
    key = serialization.load_pem_private_key(pair.private_key.inline_bytes, password=None)
    assert key.public_key() == leaf.public_key()
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_a_caller_gets_his_own_identity_and_the_roots(mesh, web):
    asking = Asking(web.channel, web.metadata)
    asking.ask("default", "ROOTCA", "nosuch")
    secrets, _ = asking.read()
    assert secrets.keys() == {"default", "ROOTCA"}
    assert identity(secrets["default"]) == [WEB]
    assert secrets["ROOTCA"].validation_context.trusted_ca.inline_bytes == mesh.root_certificate
    with Workload(mesh, certificate=web.join()) as by_certificate:
        asking = Asking(by_certificate.channel)
        asking.ask("default")
        assert identity(asking.read()[0]["default"]) == [WEB]
    with Workload(mesh, mesh.token("demo", "other")) as other:
        asking = Asking(other.channel, other.metadata)
        asking.ask("default")
        assert identity(asking.read()[0]["default"]) == [OTHER]


def test_only_what_is_new_is_answered_and_nacks_are_not(web):
    asking = Asking(web.channel, web.metadata)
    asking.ask("default")
    _, first = asking.read()
    asking.ask("default", version_info=first.version_info, response_nonce=first.nonce)
    nack = DiscoveryRequest(type_url=SECRET, resource_names=["default", "ROOTCA"], response_nonce=first.nonce)
    nack.error_detail.message = "no"
    asking.requests.put(nack)
    asking.ask("default", "ROOTCA")
    secrets, second = asking.read()
    assert (secrets.keys(), second.nonce) == ({"ROOTCA"}, "2")


def test_a_new_root_reaches_who_asked(mesh, web):
    asking = Asking(web.channel, web.metadata)
    asking.ask("default", "ROOTCA")
    before, _ = asking.read()
    mesh.ca.introduce_root()
    after, response = asking.read()
    roots = x509.load_pem_x509_certificates(after["ROOTCA"].validation_context.trusted_ca.inline_bytes)
    assert (len(roots), response.version_info) == (2, "2")
    assert before["default"] != after["default"]


def test_the_same_on_ads(mesh, web):
    stream = web.stream()
    response = stream.ask(SECRET, "default", "ROOTCA", "nosuch")
    secrets = {item.name: Secret.FromString(item.resource.value) for item in response.resources}
    assert secrets.keys() == {"default", "ROOTCA"}
    assert identity(secrets["default"]) == [WEB]
    mesh.ca.introduce_root()
    again = stream.read()
    assert {item.name for item in again.resources} == {"default", "ROOTCA"}


def test_who_proves_nothing_has_no_secrets(mesh):
    with Workload(mesh) as nobody:
        assert refusal(Asking(nobody.channel).read) == (grpc.StatusCode.UNAUTHENTICATED, "authentication failure")
    with grpc.insecure_channel(mesh.address) as channel:
        assert refusal(Asking(channel).read)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_garbage_ends_its_own_stream_only(web):
    held = Asking(web.channel, web.metadata)
    held.ask("default")
    held.read()
    bad = Asking(web.channel, web.metadata)
    bad.requests.put(b"\x0a\x02\xff\xff")  # a string that is not UTF-8
    assert refusal(bad.read)[0] is grpc.StatusCode.INTERNAL
    held.ask("default", "ROOTCA")
    assert held.read()[0].keys() == {"ROOTCA"}
