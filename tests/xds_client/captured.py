"""What a real istiod sent (captures/*.json), as the protobuf bytes it sent it in."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format

from xds_client.resource_type import ResourceType

FOLDER = Path(__file__).parent / "captures"

MESSAGES = {
    ResourceType.CLUSTER: cluster_pb2.Cluster,
    ResourceType.ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    ResourceType.LISTENER: listener_pb2.Listener,
    ResourceType.ROUTE: route_pb2.RouteConfiguration,
}

# The JSON form of an Any can only be read when its type is loaded.
for packed in (
    "envoy.extensions.access_loggers.file.v3.file_pb2",
    "envoy.extensions.filters.http.cors.v3.cors_pb2",
    "envoy.extensions.filters.http.fault.v3.fault_pb2",
    "envoy.extensions.filters.http.grpc_stats.v3.config_pb2",
    "envoy.extensions.filters.http.jwt_authn.v3.config_pb2",
    "envoy.extensions.filters.http.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.http.router.v3.router_pb2",
    "envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2",
    "envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2",
    "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2",
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2",
    "envoy.extensions.filters.network.rbac.v3.rbac_pb2",
    "envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2",
    "envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2",
    "envoy.extensions.request_id.uuid.v3.uuid_pb2",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2",
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2",
    "envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2",
    "envoy.extensions.transport_sockets.tls.v3.tls_pb2",
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2",
    "udpa.type.v1.typed_struct_pb2",
):
    importlib.import_module(packed)


def captured(file):
    """Every resource of a capture: (type, name, bytes)."""
    answer = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    kind = ResourceType(answer["type_url"])
    resources = []
    for entry in answer["resources"]:
        said = entry.get("resource", entry)  # delta wraps, state of the world does not
        message = json_format.ParseDict(said, MESSAGES[kind]())
        resources.append((kind, said.get("name") or said["cluster_name"], message.SerializeToString()))
    return resources


def everything():
    return [resource for path in sorted(FOLDER.glob("*.json")) for resource in captured(path.name)]
