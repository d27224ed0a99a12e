"""What Kubernetes would give a pod: its token, the root that it trusts, and variables that say who it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh.ca import TokenIssuer

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "demo"


def pod_environment(folder: Path, ca: Path, control_plane: str, service_account: str, ip: str) -> dict[str, str]:
    """``folder`` is the pod's own, for what would be mounted; ``ca`` is the one of the control plane.

    With these variables, ``xds:///`` targets and `rpc.xds_server_credentials` are all that a program has to know.
    """
    folder.mkdir()
    token = folder / "istio-token"
    token.write_text(TokenIssuer(ca).mint(NAMESPACE, service_account))
    return {
        "POD_NAME": folder.name,
        "POD_NAMESPACE": NAMESPACE,
        "POD_IP": ip,
        "SERVICE_ACCOUNT": service_account,
        "PROXYLESS_DISCOVERY_ADDRESS": control_plane,
        "PROXYLESS_SECURITY": "tls",
        "PROXYLESS_SERVER_NAME": "istiod.istio-system.svc",
        "PROXYLESS_TOKEN_PATH": str(token),
        "PROXYLESS_ROOT_CERTIFICATE_PATH": str(ca / "root-cert.pem"),
    }
