"""The same YAML gives the same resources from localmesh and from the real istiod, field by field.

Cases are the files of same_resources/, each added to workloads.yaml; what a case adds to the MeshConfig is in a file of
its name that ends in .mesh. Both are asked as several nodes.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from e2e.calls import until
from e2e.raw import Asking, node
from tests.localmesh.captures import differences, without

if TYPE_CHECKING:
    from envoy.config.core.v3.base_pb2 import Node
    from google.protobuf.message import Message

    from e2e.conftest import StartMesh
    from e2e.mesh import Mesh

HERE = Path(__file__).parent / "same_resources"
WORKLOADS = "workloads.yaml"
CASES = sorted(path.name for path in HERE.glob("*.yaml") if path.name != WORKLOADS)
NODES = [
    node("10.1.0.1"),
    node("10.1.0.2"),
    node("10.1.0.3", INSTANCE_IPS="10.1.0.3,fd00::4"),
    node("fd00::4"),
    node("10.1.0.9", "other"),
    node("10.9.9.9", LABELS={"app": "reviews", "version": "v2"}),  # of no service: its labels are its own word
]
# Metadata exchange between Envoys is no business of other clients.
LEFT_OUT = r"istio\.metadata_exchange|istio\.stats"


def told(mesh: Mesh, asking: Node) -> dict[tuple[str, str], Message]:
    with Asking(mesh.address, asking) as stream:
        clusters = stream.ask("CDS")
        for cluster in clusters.values():
            cluster.ClearField("filters")
        names = sorted(name for name in clusters if name.startswith("outbound|"))
        resources = {("CDS", name): cluster for name, cluster in clusters.items()}
        resources |= {("EDS", name): endpoints for name, endpoints in stream.ask("EDS", names).items()}
        inbound = without(stream.ask("LDS")["virtualInbound"], LEFT_OUT)
        # istiod writes the chains of ports that only a policy names in no order
        chains = sorted(inbound.filter_chains, key=lambda chain: chain.filter_chain_match.destination_port.value)
        del inbound.filter_chains[:]
        inbound.filter_chains.extend(chains)
        return resources | {("LDS", "virtualInbound"): inbound}


@pytest.mark.parametrize("case", CASES)
def test_same_yaml_same_resources(start_mesh: StartMesh, case: str) -> None:
    config = {name.removesuffix(".yaml"): (HERE / name).read_text() for name in (WORKLOADS, case)}
    more = HERE / case.replace(".yaml", ".mesh")
    mesh_config = yaml.safe_load(more.read_text()) if more.exists() else {}
    local, istiod = (
        start_mesh(config, kind=kind, auto_mtls=True, mesh_config=mesh_config) for kind in ("local", "istiod")
    )
    unequal = []
    for asking in NODES:
        ours, theirs = told(local, asking), told(istiod, asking)
        assert ours.keys() == theirs.keys()
        unequal += [
            f"{asking.id}: {' '.join(key)} {path}: istiod {values[0]!r}, localmesh {values[1]!r}"
            for key in ours
            for path, values in differences(theirs[key], ours[key]).items()
        ]
    assert unequal == []


KEYS = '{"keys": [{"kty":"OKP","crv":"Ed25519","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"}]}'
FETCHED = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: t, namespace: demo}}
spec: {{jwtRules: [{{issuer: one, jwksUri: "{uri}/keys"}}, {{issuer: "{uri}"}}]}}
"""


class _Issuer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host, port = self.server.server_address[:2]
        keys_are_at = json.dumps({"jwks_uri": f"http://{host!s}:{port}/keys"})
        self.send_response(200)
        self.end_headers()
        self.wfile.write((KEYS if self.path == "/keys" else keys_are_at).encode())

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_keys_that_both_fetch_are_sent_by_both(start_mesh: StartMesh) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Issuer) as issuer:
        thread = threading.Thread(target=issuer.serve_forever)
        thread.start()
        try:
            config = {"workloads": (HERE / WORKLOADS).read_text()}
            config["tokens"] = FETCHED.format(uri=f"http://127.0.0.1:{issuer.server_port}")
            local, istiod = (start_mesh(config, kind=kind, auto_mtls=True) for kind in ("local", "istiod"))
            theirs = told(istiod, NODES[0])["LDS", "virtualInbound"]
            assert KEYS in str(differences(None, theirs))
            until(  # localmesh has them a moment later
                lambda: not differences(theirs, told(local, NODES[0])["LDS", "virtualInbound"]), 20.0, "the same keys"
            )
        finally:
            issuer.shutdown()
            thread.join()
