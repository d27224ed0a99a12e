"""A workload's identity from a control plane's own CA, without Kubernetes: given, renewed, refused; roots rotated.

The same on a real kube-apiserver's tokens, where the cluster id matters too, is in e2e/cluster.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from e2e import yamls
from e2e.calls import until
from e2e.exchange import target_configs
from e2e.mesh import IstiodMesh, Mesh
from localmesh.ca.tokens import TokenIssuer as LocalTokenIssuer
from xds_client import Bootstrap, Identity, IdentitySettings, Node, PilotExchanger, TargetConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.conftest import StartMesh
    from xds_client import IdentitySource

TARGET = "xds:///reviews.demo:9080"
SPIFFE_ID = "spiffe://cluster.local/ns/demo/sa/web"
SERVER_NAME = "istiod.istio-system.svc"


class Pod:
    """The files that a pod has, and exchangers that read them."""

    def __init__(self, folder: Path, mesh: Mesh) -> None:
        self.mesh = mesh
        self.token = folder / "istio-token"
        self.roots = folder / "root-cert.pem"
        self.roots.write_bytes(mesh.root.read_bytes())
        self.mint()
        self._opened: list[PilotExchanger] = []

    def mint(self, namespace: str = "demo", account: str = "web", **options: Any) -> None:
        """Mount another token; ``audience`` and ``lifetime`` may be wrong."""
        mesh = self.mesh
        issuer = mesh._tokens if isinstance(mesh, IstiodMesh) else LocalTokenIssuer(mesh.ca)  # noqa: SLF001
        self.token.write_text(issuer.mint(namespace, account, **options))

    def join(self, ttl: float = 3600.0, node: Node | None = None, **settings: str) -> PilotExchanger:
        """Open an exchanger to the secure port."""
        identity = IdentitySettings(
            token_path=str(self.token),
            root_certificate_path=str(self.roots),
            server_name=SERVER_NAME,
            certificate_ttl=ttl,
        )
        who = node or Node(ip="127.0.0.9", pod="web-1", namespace="demo", service_account="web")
        bootstrap = Bootstrap(who, self.mesh.secure_address, "tls", replace(identity, **settings))
        self._opened.append(PilotExchanger(bootstrap))
        return self._opened[-1]

    def close(self) -> None:
        for exchanger in self._opened:
            exchanger.close()


@pytest.fixture
def pod(start_mesh: StartMesh, tmp_path: Path) -> Iterator[Pod]:
    workload = yamls.workload_entry("reviews-v1", "127.0.0.1", "reviews", "v1")
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"), workload)})
    pod = Pod(tmp_path, mesh)
    yield pod
    pod.close()


def source(exchanger: PilotExchanger) -> IdentitySource:
    assert exchanger.identity is not None
    return exchanger.identity


def leaf(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificates(identity.certificate_chain)[0]


def said(exchanger: PilotExchanger) -> tuple[str, str]:
    """Why there is no certificate, and why there is no stream."""
    return source(exchanger).error or "", exchanger.status().connection.last_error


def refused(exchanger: PilotExchanger) -> tuple[str, str]:
    """The same once both are known."""
    until(lambda: all(said(exchanger)) and "not answered yet" not in said(exchanger)[0], 20, "it is told what is wrong")
    assert source(exchanger).current is None
    assert not exchanger.status().connected
    why = said(exchanger)
    print("", *why, sep="\n")
    return why


def test_a_token_makes_a_member_of_the_mesh(pod: Pod) -> None:
    began = time.monotonic()
    exchanger = pod.join()
    identity = source(exchanger).wait(20)
    print(f"\n{identity.spiffe_id} after {(time.monotonic() - began) * 1000:.0f} ms")
    assert identity.spiffe_id == SPIFFE_ID
    assert identity.trust_domains == ("cluster.local",)
    assert identity.roots == pod.mesh.root.read_bytes()
    names = leaf(identity).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SPIFFE_ID]
    assert isinstance(target_configs(exchanger, [TARGET])[TARGET], TargetConfig)
    status = exchanger.status()
    assert status.connected
    assert status.identity is not None
    assert status.identity.spiffe_id == SPIFFE_ID


WRONG: dict[str, tuple[Callable[[Pod], None], Node | None, str, str]] = {
    "audience": (
        lambda pod: pod.mint(audience="https://kubernetes.default.svc"),
        None,
        "UNAUTHENTICATED: request authenticate failure; it was shown token ",
        "for audience ['https://kubernetes.default.svc']",
    ),
    "expired": (lambda pod: pod.mint(lifetime=-600), None, "UNAUTHENTICATED", ", expired 20"),
    "forged": (
        lambda pod: pod.token.write_text(pod.token.read_text()[:-8] + "AAAAAAAA") and None,
        None,
        "UNAUTHENTICATED",
        "of 'system:serviceaccount:demo:web'",
    ),
    "namespace": (
        lambda pod: None,
        Node(ip="127.0.0.9", pod="web-1", namespace="other"),
        f"the certificate of {SPIFFE_ID} is not the one expected, spiffe://*/ns/other/sa/*",
        "PERMISSION_DENIED",
    ),
    "account": (
        lambda pod: None,
        Node(ip="127.0.0.9", pod="web-1", namespace="demo", service_account="till"),
        "PROXYLESS_SERVICE_ACCOUNT",
        "PERMISSION_DENIED",
    ),
    "missing": (lambda pod: pod.token.unlink(), None, "cannot be read: No such file or directory", "mount a projected"),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_who_proves_nothing_is_refused_with_the_reason(pod: Pod, wrong: str) -> None:
    """And is admitted as soon as the proof is right."""
    spoil, node, of_certificate, of_stream = WRONG[wrong]
    spoil(pod)
    exchanger = pod.join(node=node)
    certificate, stream = refused(exchanger)
    assert of_certificate in certificate
    assert of_stream in stream
    token = pod.token.read_text() if pod.token.exists() else "none"
    assert token.rpartition(".")[2] not in certificate + stream
    if node is None:
        pod.mint()
        assert source(exchanger).wait(40).spiffe_id == SPIFFE_ID
        until(lambda: exchanger.status().connected, 20, "the stream is admitted, too")


def of_another_root(reason: str) -> bool:
    """In our engine's words: the roots of two meshes may have one name."""
    return "reaches none of our roots" in reason or "is refused: InvalidSignature" in reason


def test_another_meshs_root_is_believed_nothing(pod: Pod, start_mesh: StartMesh) -> None:
    pod.roots.write_bytes(start_mesh({}).root.read_bytes())
    for reason in refused(pod.join()):
        assert of_another_root(reason)
        assert f"is {pod.roots} the root of that mesh" in reason


def test_the_plaintext_port_is_told_nothing(pod: Pod) -> None:
    pod.mesh.secure_address = pod.mesh.address
    for reason in refused(pod.join()):
        assert "does not speak TLS" in reason


@pytest.mark.timeout(120)
def test_sixty_second_certificates_rotate_while_the_stream_stays(pod: Pod) -> None:
    exchanger = pod.join(ttl=60.0)
    heard: list[Identity] = []
    source(exchanger).wait(20)
    source(exchanger).observe(heard.append)
    until(lambda: exchanger.status().connected, 20, "connected")
    streams = exchanger.status().connection.streams
    gap = until(lambda: len(heard) == 2, 45, "renewed at half its life")
    assert gap > 20
    assert leaf(heard[0]).public_key() != leaf(heard[1]).public_key()
    assert heard[1].spiffe_id == SPIFFE_ID
    assert source(exchanger).current is heard[1]
    assert exchanger.status().connection.streams == streams


@pytest.mark.timeout(150)
def test_a_certificate_renews_itself_and_carries_the_stream_when_the_token_is_no_good(pod: Pod) -> None:
    exchanger = pod.join(ttl=40.0)
    first = source(exchanger).wait(20)
    pod.mint(audience="nobody")
    until(lambda: source(exchanger).current not in (None, first), 35, "renewed by the certificate")
    assert source(exchanger).error is None
    pod.mesh.restart()
    until(lambda: not exchanger.status().connected, 20, "the stream was lost")
    until(lambda: exchanger.status().connected, 35, "the stream is back, by the certificate")


@pytest.mark.timeout(120)
def test_the_root_rotates_and_both_are_trusted_meanwhile(pod: Pod) -> None:
    """The root file is an old one for a while, as it is until the kubelet has brought the new one."""
    exchanger = pod.join(ttl=40.0)
    first = source(exchanger).wait(20)
    old = pod.roots.read_bytes()
    pod.mesh.stop()
    for name in ("root-cert.pem", "ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        (pod.mesh.ca / name).unlink(missing_ok=True)
    pod.mesh.start()
    new = pod.mesh.root.read_bytes()
    assert new != old
    until(lambda: of_another_root(exchanger.status().connection.last_error), 20, "the new one is unknown")
    assert source(exchanger).current == first
    pod.roots.write_bytes(new)

    def renewed() -> bool:
        current = source(exchanger).current
        return current is not None and leaf(current).public_key() != leaf(first).public_key()

    took = until(renewed, 15, "renewed by the new root's CA, and not at half its life")
    print(f"\nrenewed {took:.1f} s after the root file had changed")
    second = source(exchanger).current
    assert second is not None
    assert second.roots == new + old, "peers with certificates from the old root are trusted still"
    until(lambda: exchanger.status().connected, 20, "the stream is back")
