"""What a workload of a localmesh finds in its environment: where the control plane is, and who the workload is to it.

The variables are those of this project (see docs/identity.md), as a pod's template would set them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh.ca.bundle import ROOTS
from localmesh.files import write_private

if TYPE_CHECKING:
    from pathlib import Path

SERVICE_ACCOUNT = "default"  # as Kubernetes, where a pod names none
IP = "127.0.0.1"
# What only a workload with an identity has: another one, in the same shell, has to be without.
OF_IDENTITIES = ("PROXYLESS_SERVER_NAME", "PROXYLESS_TOKEN_PATH", "PROXYLESS_ROOT_CERTIFICATE_PATH")
_ISTIOD = "istiod.istio-system.svc"  # the name in the control plane's certificate


def plaintext_environment(address: str, namespace: str, service_account: str, ip: str) -> dict[str, str]:
    """Of a workload without an identity, over the port without authentication."""
    return _node(address, namespace, service_account, ip) | {"PROXYLESS_SECURITY": "plaintext"}


def secure_environment(
    address: str, namespace: str, service_account: str, ip: str, *, token: str, roots: bytes, secrets: Path
) -> dict[str, str]:
    """Of one that gets its certificate for the token. What a pod would have mounted is written into ``secrets``."""
    token_file, roots_file = secrets / f"{namespace}.{service_account}.token", secrets / ROOTS
    write_private(token_file, token.encode())
    write_private(roots_file, roots)
    return _node(address, namespace, service_account, ip) | {
        "PROXYLESS_SECURITY": "tls",
        "PROXYLESS_SERVER_NAME": _ISTIOD,
        "PROXYLESS_TOKEN_PATH": str(token_file.absolute()),
        "PROXYLESS_ROOT_CERTIFICATE_PATH": str(roots_file.absolute()),
    }


def _node(address: str, namespace: str, service_account: str, ip: str) -> dict[str, str]:
    return {
        "PROXYLESS_DISCOVERY_ADDRESS": address,
        "PROXYLESS_NAMESPACE": namespace,
        "PROXYLESS_SERVICE_ACCOUNT": service_account,
        "PROXYLESS_IP": ip,
    }
