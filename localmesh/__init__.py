"""An embedded control plane: Istio YAML in, sidecar-kind xDS out, for laptops, demos and tests.

It needs no Kubernetes and is no part of a production mesh. `python -m localmesh FOLDER` serves a folder.
"""

from localmesh.errors import ConfigError, LocalMeshError, Problem
from localmesh.mesh import LocalMesh
from localmesh.serve.session import Rejection

__all__ = ["ConfigError", "LocalMesh", "LocalMeshError", "Problem", "Rejection"]
