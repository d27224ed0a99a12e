"""What istio-proxy's own bootstrap says, as far as a stock Envoy needs it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from socket import SO_MARK, SOL_SOCKET
from typing import Any

# Where istiod's listeners and clusters expect a sidecar's parts.
INBOUND, OUTBOUND = 15006, 15001
STATUS, PROMETHEUS, HEALTH = 15020, 15090, 15021
MARK = 1337  # on what the proxy sends, which is not redirected

ISTIO_VERSION = "1.31.0"

# Istio's istio.alpn filter, said with a filter of Envoy's own: what HTTP/2 calls to other sidecars offer.
ALPN_FILTER = {
    "name": "alpn",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
        "on_request_headers": [
            {
                "object_key": "envoy.network.application_protocols",
                "format_string": {"text_format_source": {"inline_string": "istio-h2,istio,h2"}},
                "shared_with_upstream": "ONCE",
            }
        ],
    },
}


@dataclass(frozen=True, slots=True)
class SidecarNode:
    """Who the sidecar is, as pilot-agent says it."""

    name: str
    address: str
    service_account: str
    namespace: str = "demo"
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"sidecar~{self.address}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    def metadata(self) -> dict[str, Any]:
        return {
            "NAME": self.name,
            "NAMESPACE": self.namespace,
            "SERVICE_ACCOUNT": self.service_account,
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": self.address,
            "ISTIO_VERSION": ISTIO_VERSION,
            "LABELS": self.labels,
            "INTERCEPTION_MODE": "REDIRECT",
            "ENVOY_STATUS_PORT": HEALTH,
            "ENVOY_PROMETHEUS_PORT": PROMETHEUS,
            "MESH_ID": "cluster.local",
            "PROXY_CONFIG": {"binaryPath": "/usr/local/bin/envoy", "serviceCluster": f"{self.name}.{self.namespace}"},
        }


def bootstrap(
    node: SidecarNode, discovery: str, admin: str, sds: str, outbound: dict[str, str] | None = None
) -> dict[str, Any]:
    """``discovery`` is istiod's plaintext port; ``admin`` and ``sds`` are paths of Unix sockets.

    ``outbound``: route tables by the address to listen on, for control planes that send no outbound listeners.
    """
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {
            "id": node.id,
            "cluster": f"{node.name}.{node.namespace}",
            "metadata": node.metadata(),
        },
        "admin": {"address": {"pipe": {"path": admin}}},
        # What istiod's clusters do not say for themselves. The ones that lead to the app do, and stay on loopback.
        "cluster_manager": {
            "upstream_bind_config": {
                "source_address": {"address": "0.0.0.0", "port_value": 0},
                "socket_options": [{"level": SOL_SOCKET, "name": SO_MARK, "int_value": MARK, "state": "STATE_PREBIND"}],
            }
        },
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {
            "listeners": [_outbound(address, route, ads) for address, route in (outbound or {}).items()],
            "clusters": [
                _grpc_cluster("xds-grpc", _socket_address(discovery)),
                _grpc_cluster("sds-grpc", {"pipe": {"path": sds}}),
            ],
        },
    }


def _outbound(address: str, route: str, ads: dict[str, Any]) -> dict[str, Any]:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    http = {
        "@type": (
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": f"outbound_{address}",
        "rds": {"route_config_name": route, "config_source": ads},
        "http_filters": [ALPN_FILTER, {"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": http}]}
    return {"name": f"outbound_{address}", "address": _socket_address(address), "filter_chains": [chain]}


def _grpc_cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    options = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _socket_address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
