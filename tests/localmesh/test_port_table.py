"""The route table of a whole port, where a sidecar looks for what has no table of its own, as istiod makes it."""

from __future__ import annotations

import pytest

from tests.localmesh.captures import CLASSES
from tests.localmesh.yaml_folder import SERVICE, Compiled, resource

WILD = resource(
    "VirtualService", "wild", "hosts: ['*.unknown.example.com']\nhttp:\n- route: [{destination: {host: x}}]"
)


def hosts(compiled, name):
    answer = CLASSES["RDS"].FromString(compiled.snapshot.routes(name, compiled.view).value)
    return {virtual_host.name: list(virtual_host.domains) for virtual_host in answer.virtual_hosts}


def test_services_of_the_port_by_all_their_names_and_then_the_rest(tmp_path):
    compiled = Compiled(tmp_path / "mesh", SERVICE, WILD)
    assert hosts(compiled, "9080") == {
        "reviews.demo.svc.cluster.local:9080": [
            "reviews.demo.svc.cluster.local",
            "reviews.demo.svc.cluster.local.",
            "reviews",
            "reviews.demo.svc",
            "reviews.demo",
        ],
        "allow_any": ["*"],
    }
    assert hosts(compiled, "9090") == {"allow_any": ["*"]}, "a TCP port has no routes"


def test_services_of_other_namespaces_and_wildcards_in_istiods_order(tmp_path):
    spec = "hosts: ['*.pods.demo.svc.cluster.local', x.other.svc.cluster.local]\nresolution: NONE\n"
    compiled = Compiled(
        tmp_path / "mesh", resource("ServiceEntry", "pods", f"{spec}ports: [{{number: 9, name: grpc}}]")
    )
    assert hosts(compiled, "9") == {
        f"{name}.svc.cluster.local:9": [
            f"{name}.svc.cluster.local",
            f"{name}.svc.cluster.local.",
            name,
            f"{name}.svc",
        ]
        for name in ("*.pods.demo", "x.other")
    } | {"allow_any": ["*"]}


def test_hosts_without_a_service_are_in_the_table_of_port_80_alone(tmp_path):
    compiled = Compiled(tmp_path / "mesh", SERVICE, WILD)
    assert hosts(compiled, "80") == {
        "*.unknown.example.com:80": ["*.unknown.example.com"],
        "allow_any": ["*"],
    }
    assert hosts(compiled, "a.unknown.example.com:80") == {}


@pytest.mark.parametrize(("mode", "name"), [("ALLOW_ANY", "allow_any"), ("REGISTRY_ONLY", "block_all")])
def test_what_becomes_of_unknown_hosts(tmp_path, mode, name):
    compiled = Compiled(tmp_path / "mesh", SERVICE, mesh=f"outboundTrafficPolicy: {{mode: {mode}}}")
    assert hosts(compiled, "1234") == {name: ["*"]}
