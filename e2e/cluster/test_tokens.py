"""Who gets a certificate, and who does not: tokens from real TokenRequests, reviewed by the real API server."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from e2e.calls import until
from e2e.cluster.network import NODE
from xds_client import Bootstrap, IdentitySettings, Node, PilotExchanger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster.api import Api

pytestmark = pytest.mark.timeout(120)

NAMESPACES = ("tokens-demo", "tokens-other")
SPIFFE_ID = "spiffe://cluster.local/ns/tokens-demo/sa/web"
WEB = Node(ip="10.77.255.1", pod="web-1", namespace="tokens-demo", service_account="web")


@pytest.fixture(scope="module")
def istiod(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where its TLS port is, from here."""
    if request.config.getoption("--cluster") == "local":
        request.getfixturevalue("control_plane")
        yield f"{NODE}:15012"
        return
    command = ["kubectl", "--namespace", "istio-system", "port-forward", "service/istiod", ":15012"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        yield forward.stdout.readline().split()[2]  # Forwarding from 127.0.0.1:40123 -> 15012
        forward.terminate()


@pytest.fixture(scope="module", autouse=True)
def accounts(api: Api) -> Iterator[None]:
    for namespace in NAMESPACES:
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        for name in ("web", "till"):
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
            api.apply(account, namespace)
    yield
    for namespace in NAMESPACES:
        api.delete(f"/api/v1/namespaces/{namespace}")


class Member:
    """A process's files, and the exchanger that reads them."""

    def __init__(self, api: Api, istiod: str, folder: Path) -> None:
        self.api = api
        self.token = folder / "istio-token"
        roots = folder / "root-cert.pem"
        path = f"/api/v1/namespaces/{NAMESPACES[0]}/configmaps/istio-ca-root-cert"
        until(lambda: "istio-ca-root-cert" in self._configmaps(), 30, "istiod has written its root")
        roots.write_text(api.get(path)["data"]["root-cert.pem"])
        settings = IdentitySettings(
            token_path=str(self.token),
            root_certificate_path=str(roots),
            server_name="istiod.istio-system.svc",
            certificate_ttl=600.0,
        )
        self._bootstrap = Bootstrap(WEB, istiod, "tls", settings)
        self._opened: PilotExchanger | None = None

    def mount(self, namespace: str = NAMESPACES[0], account: str = "web", audience: str = "istio-ca") -> None:
        self.token.write_text(self.request_token(namespace, account, audience))

    def request_token(self, namespace: str, account: str, audience: str) -> str:
        wanted = {"audiences": [audience], "expirationSeconds": 600}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self.api.create(path, request)["status"]["token"])

    def join(self, **node: str) -> PilotExchanger:
        self._opened = PilotExchanger(replace(self._bootstrap, node=replace(WEB, **node)))
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _configmaps(self) -> set[str]:
        found = self.api.list(f"/api/v1/namespaces/{NAMESPACES[0]}/configmaps")
        return {one["metadata"]["name"] for one in found}


@pytest.fixture
def member(api: Api, istiod: str, tmp_path: Path) -> Iterator[Member]:
    member = Member(api, istiod, tmp_path)
    yield member
    member.close()


def refused(exchanger: PilotExchanger) -> tuple[str, str]:
    """Why there is no certificate, and why there is no stream."""
    identity = exchanger.identity
    assert identity is not None

    def said() -> tuple[str, str]:
        return identity.error or "", exchanger.status().connection.last_error

    until(lambda: all(said()) and "not answered yet" not in said()[0], 30, "it is told what is wrong")
    assert identity.current is None
    assert not exchanger.status().connected
    print("", *said(), sep="\n")
    return said()


def test_a_token_of_the_api_server_makes_a_member(member: Member) -> None:
    member.mount()
    exchanger = member.join()
    assert exchanger.identity is not None
    assert exchanger.identity.wait(20).spiffe_id == SPIFFE_ID
    until(lambda: exchanger.status().connected, 20, "the stream is admitted")


def of_another_audience(member: Member) -> None:
    member.mount(audience="vault")


def of_another_namespace(member: Member) -> None:
    member.mount(namespace=NAMESPACES[1])


def of_another_account(member: Member) -> None:
    member.mount(account="till")


def tampered_with(member: Member) -> None:
    """Another subject, under the signature of before."""
    head, body, signature = member.request_token(NAMESPACES[1], "web", "istio-ca").split(".")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["sub"] = f"system:serviceaccount:{NAMESPACES[0]}:web"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    member.token.write_text(f"{head}.{forged}.{signature}")


def of_a_deleted_account(member: Member) -> None:
    """The API server's review refuses it at once, however long it would still be valid."""
    path = f"/api/v1/namespaces/{NAMESPACES[0]}/serviceaccounts"
    short_lived = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "short-lived"}}
    member.api.apply(short_lived, NAMESPACES[0])
    member.mount(account="short-lived")
    member.api.delete(f"{path}/short-lived")


REFUSED: dict[Callable[[Member], None], tuple[dict[str, str], str, str]] = {
    of_another_audience: ({}, "for audience ['vault']", "for audience ['vault']"),
    of_another_namespace: ({}, "tokens-other", "PERMISSION_DENIED"),
    of_another_account: ({}, "till", "PERMISSION_DENIED"),
    tampered_with: ({}, "UNAUTHENTICATED", "UNAUTHENTICATED"),
    of_a_deleted_account: ({"service_account": "short-lived"}, "UNAUTHENTICATED", "UNAUTHENTICATED"),
    Member.mount: ({"cluster_id": "elsewhere"}, "as of cluster 'elsewhere'", "as of cluster 'elsewhere'"),
}


@pytest.mark.parametrize("spoil", REFUSED, ids=lambda spoil: spoil.__name__.replace("mount", "to_another_cluster"))
def test_others_are_refused_with_the_reason(member: Member, spoil: Callable[[Member], None]) -> None:
    node, of_certificate, of_stream = REFUSED[spoil]
    spoil(member)
    certificate, stream = refused(member.join(**node))
    assert of_certificate in certificate
    assert of_stream in stream
    assert member.token.read_text().rpartition(".")[2] not in certificate + stream, "no secrets in messages"
