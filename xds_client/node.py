"""Who we are to the control plane: the node identity that istiod computes our configuration for. A frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from xds_client.model import Labels, Locality

NO_LOCALITY = Locality()
# Which form of configuration we understand; istiod still serves older forms to proxies that say an older version.
ISTIO_VERSION = "1.31.0"


@dataclass(frozen=True, slots=True)
class Node:
    """One workload, as an ordinary sidecar would introduce it (no GENERATOR: sidecar-kind resources).

    >>> Node(ip="10.0.0.1", pod="web-1", namespace="demo").id
    'sidecar~10.0.0.1~web-1.demo~demo.svc.cluster.local'
    """

    ip: str
    pod: str
    namespace: str
    domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    network: str = ""
    node_name: str = ""
    service_account: str = ""
    istio_version: str = ISTIO_VERSION
    labels: Labels = ()
    locality: Locality = NO_LOCALITY

    @property
    def id(self) -> str:
        """Any other form is refused with INVALID_ARGUMENT (pilot/pkg/model ParseServiceNodeWithMetadata)."""
        return f"sidecar~{self.ip}~{self.pod}.{self.namespace}~{self.namespace}.svc.{self.domain}"

    def metadata(self) -> dict[str, object]:
        """What istiod reads (pkg/model/proxy.go NodeMetadata); lists are comma-joined, booleans are strings there."""
        said: dict[str, object] = {
            "NAME": self.pod,
            "NAMESPACE": self.namespace,
            "CLUSTER_ID": self.cluster_id,
            "INSTANCE_IPS": self.ip,
            "ISTIO_VERSION": self.istio_version,
            "LABELS": dict(self.labels),
            # Without it istiod may send envoy_internal_address endpoints, which only an HBONE client can dial.
            "DISABLE_HBONE_SEND": "true",
        }
        optional = {"NETWORK": self.network, "NODE_NAME": self.node_name, "SERVICE_ACCOUNT": self.service_account}
        return said | {name: value for name, value in optional.items() if value}
