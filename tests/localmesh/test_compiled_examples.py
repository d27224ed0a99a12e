"""What the examples are compiled to, resource by resource, as it was when another library built the messages.

Who changes an example, or what istiod's equal is, writes its file anew: the JSON of `answers`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from localmesh.compile import Snapshot, View
from localmesh.config import read_folder
from tests.localmesh.captures import CLASSES, fields

ROOT = Path(__file__).parents[2]
COMPILED = Path(__file__).parent / "compiled"
MESHES = {
    "demo": (ROOT / "examples/demo/mesh", "127.77.0.1"),
    "hello": (ROOT / "examples/hello/mesh", "127.0.0.1"),
    "hello-mtls": (ROOT / "examples/hello/mtls", "127.0.0.1"),
}


def answers(folder, address):
    """All that the workload at the address could ask for, by type and name."""
    resources = read_folder(folder)
    snapshot = Snapshot(resources)
    view = snapshot.view(View("demo", addresses=(address,)))
    clusters = snapshot.clusters(view)
    specs = [entry.spec for entry in (*resources.service_entries, *resources.virtual_services)]
    ports = {port.number for entry in resources.service_entries for port in entry.spec.ports} | {80}
    tables = {f"{host}:{port}" for spec in specs for host in spec.hosts for port in ports} | {*map(str, ports), "x"}
    packed = {
        "CDS": clusters,
        "LDS": snapshot.listeners(view),
        "EDS": {name: snapshot.endpoints(name, view) for name in [*clusters, "outbound|1||nobody"]},
        "RDS": {name: snapshot.routes(name, view) for name in tables},
    }
    return {
        kind: {name: CLASSES[kind].FromString(body.value) for name, body in found.items()}
        for kind, found in packed.items()
    }


@pytest.mark.parametrize("mesh", MESHES)
def test_an_example_is_compiled_to_the_same_as_ever(mesh):
    written = json.loads((COMPILED / f"{mesh}.json").read_text())
    found = answers(*MESHES[mesh])
    for kind, resources in found.items():
        assert resources.keys() == written[kind].keys()
        for name, resource in resources.items():
            assert fields(resource) == fields(json_format.ParseDict(written[kind][name], CLASSES[kind]())), (kind, name)
