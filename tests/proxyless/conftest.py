from __future__ import annotations

import pytest
from typer.testing import CliRunner

from localmesh import LocalMesh
from proxyless.commands import app

YAML = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: grpc, protocol: GRPC}]
  endpoints:
  - {address: 127.0.0.1, labels: {version: v1}, locality: eu/west/a}
  - {address: 127.0.0.2, labels: {version: v2}, weight: 4, locality: eu/west/b, serviceAccount: two}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: demo}
spec:
  host: reviews.demo.svc.cluster.local
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""

ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  http:
  - match: [{headers: {x-user: {exact: "[tester]"}}}]
    timeout: 2s
    route: [{destination: {host: reviews.demo.svc.cluster.local, subset: v2}}]
  - route:
    - {destination: {host: reviews.demo.svc.cluster.local, subset: v1}, weight: 75}
    - {destination: {host: reviews.demo.svc.cluster.local, subset: v2}, weight: 25}
"""


@pytest.fixture(autouse=True)
def plaintext(monkeypatch):
    """What the meshes here speak, unless a test says otherwise."""
    monkeypatch.setenv("PROXYLESS_SECURITY", "plaintext")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "services.yaml").write_text(YAML)
    (folder / "routes.yaml").write_text(ROUTES)
    return folder


@pytest.fixture
def mesh(folder):
    with LocalMesh(folder) as mesh:
        yield mesh


@pytest.fixture
def run(monkeypatch):
    """The command in this process: exit status, output, errors."""
    for name in ("PROXYLESS_DISCOVERY_ADDRESS", "PROXYLESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        result = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"}).invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run
