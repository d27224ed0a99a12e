"""The same answers to certificate requests, good and bad, from localmesh and from the real istiod: by name of the RPC's
status, and by what is in the certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from localmesh.ca.messages import CertificateRequest
from localmesh.serve.session import CLUSTER
from tests.localmesh.secure_client import Workload, csr, new_key, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.conftest import StartMesh
    from e2e.mesh import Mesh

DAY = 86_400


class Secured:
    """What `Workload` asks of a mesh."""

    def __init__(self, mesh: Mesh) -> None:
        self.secure_address = mesh.secure_address
        self.root_certificate = mesh.root.read_bytes()


def shape(leaf: x509.Certificate) -> dict[str, Any]:
    """All of a leaf but what is new in each: key, serial number, signature."""
    found: dict[str, Any] = {
        extension.oid.dotted_string: (extension.critical, repr(extension.value))
        for extension in leaf.extensions
        if not isinstance(extension.value, x509.AuthorityKeyIdentifier)
    }
    found["lifetime"] = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    found["subject"] = leaf.subject.rfc4514_string()
    found["identifies its issuer"] = any(
        isinstance(extension.value, x509.AuthorityKeyIdentifier) for extension in leaf.extensions
    )
    return found


def certificates(chain: list[str]) -> list[x509.Certificate]:
    return [found for each in chain for found in x509.load_pem_x509_certificates(each.encode())]


@pytest.fixture
def meshes(start_mesh: StartMesh) -> dict[str, Mesh]:
    return {kind: start_mesh({}, kind=kind) for kind in ("local", "istiod")}


def from_both(meshes: dict[str, Mesh], ask: Callable[[Mesh], Any]) -> Any:
    """What both say; fails where they say different things."""
    said = {kind: ask(mesh) for kind, mesh in meshes.items()}
    assert said["local"] == said["istiod"]
    return said["local"]


@pytest.mark.parametrize("seconds", [0, 60, DAY, 90 * DAY], ids=["default", "a minute", "a day", "the most"])
def test_the_same_leaf(meshes: dict[str, Mesh], seconds: int) -> None:
    def ask(mesh: Mesh) -> dict[str, Any]:
        key = new_key()
        with Workload(Secured(mesh), mesh.token("demo", "web")) as workload:
            leaf, *_, root = certificates(workload.create(csr(key), seconds))
        assert leaf.public_key() == key.public_key()
        assert root.public_bytes(serialization.Encoding.PEM) == mesh.root.read_bytes()
        leaf.verify_directly_issued_by(root)
        return shape(leaf)

    assert "spiffe://cluster.local/ns/demo/sa/web" in str(from_both(meshes, ask))


def test_renewal_by_certificate_alone(meshes: dict[str, Mesh]) -> None:
    def ask(mesh: Mesh) -> dict[str, Any]:
        with Workload(Secured(mesh), mesh.token("demo", "web")) as workload:
            certificate = workload.join()
        with Workload(Secured(mesh), certificate=certificate) as workload:
            return shape(certificates(workload.create(csr(new_key())))[0])

    from_both(meshes, ask)


BAD_REQUESTS = {
    "garbage": b"garbage",
    "no request": b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "too long": CertificateRequest(csr=csr(new_key()).decode(), validity_duration=90 * DAY + 1),
}


@pytest.mark.parametrize("request_", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_the_same_refusal_of_a_request(meshes: dict[str, Mesh], request_: Any) -> None:
    def ask(mesh: Mesh) -> tuple[grpc.StatusCode, str]:
        with Workload(Secured(mesh), mesh.token("demo", "web")) as workload:
            return refusal(lambda: workload.create(request_))

    assert from_both(meshes, ask)[0] is grpc.StatusCode.INVALID_ARGUMENT


BAD_TOKENS: dict[str, Callable[[Mesh], str]] = {
    "audience": lambda mesh: mesh.token("demo", "web", audience="other"),
    "expired": lambda mesh: mesh.token("demo", "web", lifetime=-10.0),
    "cut": lambda mesh: mesh.token("demo", "web")[:-10],
    "none": lambda _: "",
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_the_same_refusal_of_a_token(meshes: dict[str, Mesh], token: Callable[[Mesh], str]) -> None:
    def ask(mesh: Mesh) -> list[tuple[grpc.StatusCode, str]]:
        with Workload(Secured(mesh), token(mesh)) as workload:
            return [refusal(lambda: workload.create(csr(new_key()))), refusal(lambda: workload.stream().ask(CLUSTER))]

    assert {code for code, _ in from_both(meshes, ask)} == {grpc.StatusCode.UNAUTHENTICATED}


def test_the_same_refusal_of_another_node(meshes: dict[str, Mesh]) -> None:
    def ask(mesh: Mesh) -> list[tuple[grpc.StatusCode, str]]:
        with Workload(Secured(mesh), mesh.token("demo", "web")) as workload:
            streams = [
                workload.stream("sidecar~127.0.0.9~pod-1.other~other.svc.cluster.local"),
                workload.stream(SERVICE_ACCOUNT="admin"),
                workload.stream("sidecar~127.0.0.9"),
            ]
            return [refusal(lambda stream=stream: stream.ask(CLUSTER)) for stream in streams]

    denied, invalid = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT
    said = {kind: ask(mesh) for kind, mesh in meshes.items()}
    assert said["local"][:2] == said["istiod"][:2]
    for answers in said.values():
        assert [code for code, _ in answers] == [denied, denied, invalid]
