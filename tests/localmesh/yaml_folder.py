"""Folders of Istio YAML for tests, and what they compile to as upb messages."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

from localmesh.compile import Snapshot, View
from localmesh.config import read_folder
from tests.localmesh.captures import CLASSES

if TYPE_CHECKING:
    from pathlib import Path

DEMO = View("demo")
HOST = "reviews.demo.svc.cluster.local"

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: grpc, protocol: GRPC}, {number: 9090, name: tcp, protocol: TCP}]
  endpoints:
  - {address: 127.0.0.1, labels: {version: v1}}
  - {address: 127.0.0.2, labels: {version: v2}, weight: 4, locality: eu/a, serviceAccount: two}
"""


def resource(kind, name, spec, namespace="demo"):
    body = dedent(spec).strip("\n").replace("\n", "\n  ")
    head = f"apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    return f"{head}spec:\n  {body}\n"


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


class Compiled:
    """The snapshot of some YAML, asked for upb messages."""

    def __init__(self, folder: Path, *documents: str, view: View = DEMO, mesh: str = "{}") -> None:
        self.snapshot = Snapshot(read_folder(write(folder, mesh=mesh, all="\n---\n".join(documents))))
        self.view = view

    def cluster(self, name, view=None):
        return CLASSES["CDS"].FromString(self.snapshot.clusters(view or self.view)[name].value)

    def localities(self, name, view=None):
        return CLASSES["EDS"].FromString(self.snapshot.endpoints(name, view or self.view).value).endpoints

    def routes(self, name=f"{HOST}:9080", view=None):
        answer = CLASSES["RDS"].FromString(self.snapshot.routes(name, view or self.view).value)
        return [route for host in answer.virtual_hosts for route in host.routes]


def tls_context(socket):
    context = UpstreamTlsContext()
    assert socket.typed_config.Unpack(context)
    return context
