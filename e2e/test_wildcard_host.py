"""A VirtualService whose wildcard host covers no service: its hosts are in the table of the whole port alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from e2e import yamls

if TYPE_CHECKING:
    from e2e.conftest import Connect, StartMesh
    from e2e.workloads import Fleet

PORT = 80  # where istiod keeps hosts that only a VirtualService names


def config(fleet: Fleet) -> dict[str, str]:
    fleet.add("reviews", "v1")
    port = yamls.GRPC_PORT | {"number": PORT}
    wild = {"hosts": ["*.unknown.example.com"], "http": [yamls.route("reviews", {"v1": 100})]}
    return {
        "services": yamls.documents(yamls.service_entry("reviews", ports=[port]), *fleet.entries()),
        "rules": yamls.documents(
            yamls.destination_rule("reviews", ["v1"]), yamls.resource("VirtualService", "wild", wild)
        ),
    }


def test_its_hosts_can_be_called(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    mesh = start_mesh(config(fleet))
    for host in ("a.unknown.example.com", "b.c.unknown.example.com"):
        outcome = connect(mesh, f"xds:///{host}:{PORT}").call(timeout=20.0)
        assert (outcome.code, outcome.server is not None) == (grpc.StatusCode.OK, True), outcome


@pytest.mark.parametrize("mode", ["ALLOW_ANY", "REGISTRY_ONLY"])
def test_other_hosts_fail_by_the_name_of_the_policy(
    start_mesh: StartMesh, fleet: Fleet, connect: Connect, mode: str
) -> None:
    mesh = start_mesh(config(fleet), outbound=mode)
    outcome = connect(mesh, f"xds:///unknown.example.org:{PORT}").call(timeout=20.0)
    assert outcome.code is grpc.StatusCode.UNAVAILABLE
    assert mode in outcome.details
