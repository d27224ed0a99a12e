"""Where the control plane is and who we are to it: read once at start, from the pod and from our own settings.

Each setting comes from the first of: our variable (``PROXYLESS_…``), our file (TOML, named by ``PROXYLESS_CONFIG``),
what the pod says (its variables and mounted files), a fallback. What is set but unusable is a `BootstrapError`.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xds_client.errors import BootstrapError
from xds_client.node import ISTIO_VERSION, Node
from xds_client.settings import PodFiles, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DISCOVERY_ADDRESS = "istiod.istio-system.svc:15010"
_TLS_PORT = 15012


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """``security`` is ``plaintext``; ``tls`` (port 15012) is reserved and refused for now."""

    node: Node
    discovery_address: str = DISCOVERY_ADDRESS
    security: str = "plaintext"

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Bootstrap:
        """Read the settings; raise one `BootstrapError` that names file (or variable) and field.

        ``root`` is where the pod's files are looked for.
        """
        settings = Settings.load(environ)
        pod = PodFiles(root)
        node = Node(
            ip=settings.text("ip", "INSTANCE_IP", "POD_IP") or _local_ip(),
            pod=settings.text("pod_name", "POD_NAME", "HOSTNAME") or socket.gethostname(),
            namespace=settings.text("namespace", "POD_NAMESPACE") or pod.namespace() or "default",
            domain=settings.text("domain", "DOMAIN_SUFFIX") or "cluster.local",
            cluster_id=settings.text("cluster_id", "ISTIO_META_CLUSTER_ID") or "Kubernetes",
            network=settings.text("network", "ISTIO_META_NETWORK"),
            node_name=settings.text("node_name", "ISTIO_META_NODE_NAME"),
            service_account=settings.text("service_account", "SERVICE_ACCOUNT"),
            istio_version=settings.text("istio_version", "ISTIO_META_ISTIO_VERSION") or ISTIO_VERSION,
            labels=settings.labels() or pod.labels(),
            locality=settings.locality(),
        )
        address, security = _discovery(settings)
        return cls(node, address, security)


def _discovery(settings: Settings) -> tuple[str, str]:
    address = settings.text("discovery_address") or DISCOVERY_ADDRESS
    source = settings.source("discovery_address")
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise BootstrapError(source, "discovery_address", f"{address!r} is not host:port")
    security = settings.text("security") or "plaintext"
    if security not in ("plaintext", "tls"):
        raise BootstrapError(settings.source("security"), "security", f"{security!r} is neither plaintext nor tls")
    if security == "tls" or int(port) == _TLS_PORT:
        where = (settings.source("security"), "security") if security == "tls" else (source, "discovery_address")
        raise BootstrapError(*where, "TLS to the control plane is not there yet; use plaintext and port 15010")
    return address, security


def _local_ip() -> str:
    """The address this host would use to go out; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
