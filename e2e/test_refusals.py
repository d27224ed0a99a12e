"""What must fail does so soon, says why, and never by accident in plaintext."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from e2e import yamls
from e2e.exchange import NODE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import Connect, StartMesh


def test_an_unknown_host_is_named(start_mesh: StartMesh, connect: Connect) -> None:
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"))})
    outcome = connect(mesh, "xds:///nosuch.demo:9080").call(timeout=10.0)
    print(f"\n{outcome.seconds:.2f} s: {outcome.details}")
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert outcome.seconds < 10.0
    for part in ("nosuch.demo", "route", NODE_ID):
        assert part in outcome.details


def test_a_host_without_workloads_is_named(start_mesh: StartMesh, connect: Connect) -> None:
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"))})
    outcome = connect(mesh).call(timeout=5.0)
    print(f"\n{outcome.seconds:.2f} s: {outcome.details}")
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert yamls.fqdn("reviews") in outcome.details


class Wiretap:
    """A listening socket that keeps every byte it is sent."""

    def __init__(self) -> None:
        self.heard = b""
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._listen, name="e2e-wiretap")
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                connection.settimeout(0.5)
                try:
                    while said := connection.recv(65536):
                        self.heard += said
                except OSError:
                    continue


@pytest.fixture
def wiretap() -> Iterator[Wiretap]:
    tap = Wiretap()
    yield tap
    tap.close()


MTLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "by its own label": ({"labels": {"security.istio.io/tlsMode": "istio"}}, {}),
    "by the DestinationRule": ({}, {"tls": {"mode": "ISTIO_MUTUAL"}}),
}


@pytest.mark.parametrize("demand", sorted(MTLS))
def test_an_endpoint_that_demands_mtls_is_refused(
    start_mesh: StartMesh, connect: Connect, wiretap: Wiretap, demand: str
) -> None:
    workload, policy = MTLS[demand]
    entry = yamls.workload_entry(
        "reviews-v1", "127.0.0.1", "reviews", "v1", ports={"grpc": wiretap.port}, serviceAccount="reviews", **workload
    )
    documents = [yamls.service_entry("reviews"), entry, yamls.destination_rule("reviews", ["v1"], **policy)]
    mesh = start_mesh({"services": yamls.documents(*documents)}, auto_mtls=True)
    outcome = connect(mesh).call(timeout=5.0)
    print(f"\n{outcome.seconds:.2f} s: {outcome.details}")
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert outcome.seconds < 5.0
    assert f"127.0.0.1:{wiretap.port}" in outcome.details
    assert "mutual TLS" in outcome.details
    assert wiretap.heard == b"", "bytes were sent to an endpoint that must not be called in plaintext"
