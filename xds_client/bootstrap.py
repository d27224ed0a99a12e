"""Where the control plane is and who we are to it: read once at start, from the pod and from our own settings.

Each setting comes from the first of: our variable (``PROXYLESS_…``), our file (TOML, named by ``PROXYLESS_CONFIG``),
what the pod says (its variables and mounted files), a fallback. What is set but unusable is a `BootstrapError`.
Plaintext is never a fallback: it is said, and whoever asks for an identity besides gets it or an error.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xds_client.errors import BootstrapError
from xds_client.identity.settings import SOURCES, WORKLOAD_API_SOCKET, IdentitySettings
from xds_client.node import ISTIO_VERSION, Node
from xds_client.settings import PodFiles, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "istiod.istio-system.svc"
PLAINTEXT_PORT, TLS_PORT = "15010", "15012"

# Settings, with the pod's variables for them, that only somebody writes who wants an identity; and from which source.
_ASKS = {
    ("ca_address", "CA_ADDR"): "istiod",
    ("token_path",): "istiod",
    ("certificate_path",): "files",
    ("private_key_path",): "files",
    ("workload_api_address", "SPIFFE_ENDPOINT_SOCKET"): "workload_api",
}
_NOBODY_SIGNS = (
    "asks for an identity, and the control plane is spoken to in plaintext, where nobody signs certificates; set "
    "PROXYLESS_SECURITY=tls and istiod's port 15012, or PROXYLESS_CA_ADDRESS, or PROXYLESS_IDENTITY=none"
)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Where the control plane is, and who we are to it.

    ``security`` says how the ADS stream is carried: ``tls`` or ``plaintext``.

    ``identity``: where the mesh identity comes from; None: from istiod over ``tls``, from nowhere over ``plaintext``.

    >>> settings = {"PROXYLESS_DISCOVERY_ADDRESS": "127.0.0.1:15010", "PROXYLESS_NAMESPACE": "demo"}
    >>> bootstrap = Bootstrap.load(settings)  # without an argument: the environment
    >>> bootstrap.security, bootstrap.node.namespace
    ('plaintext', 'demo')
    """

    node: Node
    discovery_address: str = f"{HOST}:{TLS_PORT}"
    security: str = "tls"
    identity: IdentitySettings | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, root: Path = Path("/")) -> Bootstrap:
        """Read the settings; raise one `BootstrapError` that names file (or variable) and field.

        ``environ``: the process's, unless given. ``root`` is where the pod's files are looked for.
        """
        # no default argument: `help()` would print it, secrets included
        settings = Settings.load(os.environ if environ is None else environ)
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
        return cls(node, address, security, _identity(settings, pod, security))


def _discovery(settings: Settings) -> tuple[str, str]:
    """TLS, unless plaintext is said: by ``security``, or by istiod's port for it. What is not mounted says nothing."""
    address = settings.address("discovery_address")
    plain = address.rpartition(":")[2] == PLAINTEXT_PORT
    security = settings.text("security") or ("plaintext" if plain else "tls")
    if security not in ("plaintext", "tls"):
        raise BootstrapError(settings.source("security"), "security", f"{security!r} is neither plaintext nor tls")
    return address or f"{HOST}:{TLS_PORT if security == 'tls' else PLAINTEXT_PORT}", security


def _identity(settings: Settings, pod: PodFiles, security: str) -> IdentitySettings | None:
    default = IdentitySettings()
    source = settings.text("identity")
    if source and source not in SOURCES:
        raise BootstrapError(settings.source("identity"), "identity", f"{source!r} is none of {', '.join(SOURCES)}")
    asks = next((key for key in _ASKS if settings.text(*key)), None)
    if not source and security == "plaintext" and asks is None:
        return None
    source = source or _meant(settings, pod)
    ca_address = settings.address("ca_address", "CA_ADDR")
    if source == "istiod" and security == "plaintext" and not ca_address:
        asking = ("identity",) if settings.text("identity") or asks is None else asks
        raise BootstrapError(settings.source(*asking), asking[0], _NOBODY_SIGNS)
    workload_api = settings.text("workload_api_address", "SPIFFE_ENDPOINT_SOCKET") or default.workload_api_address
    if not workload_api.startswith(("unix:", "tcp:")):
        where = settings.source("workload_api_address", "SPIFFE_ENDPOINT_SOCKET")
        raise BootstrapError(
            where, "workload_api_address", f"{workload_api!r} is neither unix:///path nor tcp://ip:port"
        )
    aliases = settings.text("trust_domain_aliases")
    return IdentitySettings(
        source=source,
        ca_address=ca_address,
        server_name=settings.text("server_name"),
        token_path=settings.text("token_path") or default.token_path,
        root_certificate_path=settings.text("root_certificate_path") or default.root_certificate_path,
        extra_roots_path=settings.text("extra_roots_path"),
        certificate_ttl=settings.seconds("certificate_ttl", "SECRET_TTL") or default.certificate_ttl,
        trust_domain=settings.text("trust_domain", "TRUST_DOMAIN"),
        trust_domain_aliases=tuple(alias.strip() for alias in aliases.split(",") if alias.strip()),
        certificate_path=settings.text("certificate_path") or default.certificate_path,
        private_key_path=settings.text("private_key_path") or default.private_key_path,
        workload_api_address=workload_api,
    )


def _meant(settings: Settings, pod: PodFiles) -> str:
    """As pilot-agent decides (pkg/istio-agent): a SPIFFE agent's socket, then mounted certificates, then the CA.

    Where nothing is mounted, what is set beside tells.
    """
    if pod.has(WORKLOAD_API_SOCKET):
        return "workload_api"
    if pod.has(IdentitySettings().certificate_path):
        return "files"
    return next((source for key, source in _ASKS.items() if settings.text(*key)), "istiod")


def _local_ip() -> str:
    """The address this host would use to go out; connecting a UDP socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
