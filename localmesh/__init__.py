"""An embedded control plane: Istio YAML in, sidecar-kind xDS out, for laptops, demos and tests.

It needs no Kubernetes and is no part of a production mesh. `python -m localmesh FOLDER` serves a folder.
"""

from localmesh.errors import ConfigError, LocalMeshError, Problem

try:
    from localmesh.mesh import LocalMesh
    from localmesh.serve.session import Rejection
except ModuleNotFoundError as error:
    if error.name not in ("watchfiles", "yaml"):  # what the extra brings; another one that is missing is a bug
        raise
    reason = f"the embedded control plane needs {error.name}: pip install 'proxyless[localmesh]'"
    raise ModuleNotFoundError(reason, name=error.name) from None

__all__ = ["ConfigError", "LocalMesh", "LocalMeshError", "Problem", "Rejection"]
