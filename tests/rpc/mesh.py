"""A small mesh: localmesh, one service, and programs that are its members."""

from __future__ import annotations

from localmesh import LocalMesh
from tests.rpc.peers import World
from tests.rpc.programs import python
from tests.rpc.script import READ, greet, request

YAML = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews, namespace: demo}}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: grpc, protocol: GRPC, targetPort: {port}}}]
  endpoints: [{{address: 127.0.0.1}}]
"""


def by_the_name_of(name):
    """Greets everybody by this name."""

    def script():
        yield READ
        yield greet(request(name))

    return script


class Mesh:
    """``script``: what the service does at first, if not to greet everybody as "one"."""

    def __init__(self, folder, script=None):
        self._folder = folder
        self._world = World("sync")
        self.route_to(script or by_the_name_of("one"))
        self.plane = LocalMesh(folder, auto_mtls=False)

    def route_to(self, script):
        port = int(self._world.serve(script).rpartition(":")[2])
        draft = self._folder / "draft"
        draft.write_text(YAML.format(port=port))
        draft.replace(self._folder / "reviews.yaml")

    @property
    def environment(self):
        """Of a pod's process in this mesh."""
        return {
            "PROXYLESS_DISCOVERY_ADDRESS": self.plane.address,
            "PROXYLESS_NAMESPACE": "demo",
            "PROXYLESS_SECURITY": "plaintext",
            "GRPC_VERBOSITY": "ERROR",  # else grpcio says at each fork what it will not do
        }

    def program(self, source, *arguments, **options):
        return python(source, *arguments, environment=self.environment, **options)

    def close(self):
        self.plane.stop()
        self._world.close()
