"""Headless Services: the mesh says to go on to where the caller was going, and DNS has the addresses.

Here both control planes are told by a ServiceEntry with resolution NONE, of which istiod makes the same cluster as of
a headless Service (and localmesh, too), and the test plays DNS. e2e/cluster has a real Service and a real resolver.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from e2e import yamls
from e2e.calls import until

if TYPE_CHECKING:
    from e2e.conftest import Connect, StartMesh
    from e2e.workloads import Fleet

SERVICE = yamls.fqdn("reviews")
TARGET = f"xds:///{SERVICE}:{yamls.TARGET_PORT}"
OPTIONS = (("grpc.dns_min_time_between_resolutions_ms", 100),)
PORT = {"number": yamls.TARGET_PORT, "name": "grpc", "protocol": "GRPC"}


class Dns:
    """What names mean, as far as the test says it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: dict[str, list[str]] = {}
        system_s = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *args: Any, flags: int = 0, **how: Any) -> Any:
            if not str(host).endswith(SERVICE) or flags & socket.AI_NUMERICHOST:
                return system_s(host, port, *args, flags=flags, **how)
            if not self.addresses.get(host):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in self.addresses[host]]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    return Dns(monkeypatch)


def headless(*hosts: str) -> str:
    return yamls.documents(
        *(
            yamls.service_entry(f"reviews-{number}", hosts=[host], resolution="NONE", ports=[PORT], endpoints=[])
            for number, host in enumerate(hosts)
        )
    )


def test_all_its_pods_are_called_and_those_that_come_and_go(
    start_mesh: StartMesh, fleet: Fleet, connect: Connect, dns: Dns
) -> None:
    first, second = fleet.add("reviews", "v1", count=2)
    mesh = start_mesh({"reviews": headless(SERVICE)})
    dns.addresses[SERVICE] = [first.address]
    client = connect(mesh, TARGET, options=OPTIONS)
    assert client.servers(20) == {first.name: 20}
    dns.addresses[SERVICE] = [first.address, second.address]
    until(lambda: client.call().server == second.name, 30, "the pod that came is called")
    dns.addresses[SERVICE] = [second.address]
    until(lambda: set(client.servers(4)) == {second.name}, 30, "the pod that left is not called any more")


def test_one_pod_is_called_by_its_own_name(start_mesh: StartMesh, fleet: Fleet, connect: Connect, dns: Dns) -> None:
    workloads = fleet.add("reviews", "v1", count=2)
    mesh = start_mesh({"reviews": headless(SERVICE, f"*.{SERVICE}")})
    for number, workload in enumerate(workloads):
        dns.addresses[f"reviews-{number}.{SERVICE}"] = [workload.address]
    for number, workload in enumerate(workloads):
        client = connect(mesh, f"xds:///reviews-{number}.{SERVICE}:{yamls.TARGET_PORT}")
        assert client.servers(5) == {workload.name: 5}


def test_a_name_without_pods_fails_by_its_name_until_there_are_some(
    start_mesh: StartMesh, fleet: Fleet, connect: Connect, dns: Dns
) -> None:
    (workload,) = fleet.add("reviews", "v1")
    mesh = start_mesh({"reviews": headless(SERVICE)})
    client = connect(mesh, TARGET, options=OPTIONS)
    outcome = client.call(timeout=20.0)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    for word in (SERVICE, "Name or service not known", "headless"):
        assert word in outcome.details, outcome
    dns.addresses[SERVICE] = [workload.address]
    until(lambda: client.call().server == workload.name, 60, "it is looked up again")


@pytest.mark.parametrize("mode", ["ALLOW_ANY", "REGISTRY_ONLY"])
def test_a_host_that_the_mesh_does_not_know_is_called_where_the_mesh_lets_it(
    start_mesh: StartMesh, fleet: Fleet, connect: Connect, dns: Dns, mode: str
) -> None:
    (workload,) = fleet.add("reviews", "v1")
    other = yamls.service_entry("other", ports=[PORT])
    tcp = yamls.service_entry("tcp", hosts=[f"tcp.{SERVICE}"], ports=[PORT | {"name": "tcp", "protocol": "TCP"}])
    mesh = start_mesh({"others": yamls.documents(other, tcp, *fleet.entries())}, outbound=mode)
    dns.addresses[SERVICE] = dns.addresses[f"tcp.{SERVICE}"] = [workload.address]
    outcome = connect(mesh, TARGET).call(timeout=20.0)
    if mode == "ALLOW_ANY":
        assert outcome.server == workload.name
    else:
        assert outcome.code is grpc.StatusCode.UNAVAILABLE
        assert mode in outcome.details
    outcome = connect(mesh, f"xds:///tcp.{SERVICE}:{yamls.TARGET_PORT}").call(timeout=20.0)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE, "in plaintext, where a sidecar has mutual TLS"
    assert f"outbound|{yamls.TARGET_PORT}||tcp.{SERVICE}" in outcome.details or mode == "REGISTRY_ONLY"
