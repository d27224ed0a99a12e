"""The captures of a real istiod as upb messages, and messages as flat tables of fields."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2
from envoy.extensions.request_id.uuid.v3 import uuid_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import previous_priorities_config_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import json_format
from udpa.type.v1 import typed_struct_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

# Any is read as JSON only if its class is loaded
LOADED = (
    config_pb2,
    ext_authz_pb2,
    file_pb2,
    jwt_pb2,
    rbac_pb2,
    router_pb2,
    http_inspector_pb2,
    original_dst_pb2,
    tls_inspector_pb2,
    http_connection_manager_pb2,
    network_ext_authz_pb2,
    network_rbac_pb2,
    tcp_proxy_pb2,
    uri_template_match_pb2,
    uuid_pb2,
    cors_pb2,
    fault_pb2,
    cares_dns_resolver_pb2,
    previous_hosts_pb2,
    previous_priorities_config_pb2,
    raw_buffer_pb2,
    tls_pb2,
    http_protocol_options_pb2,
    typed_struct_pb2,
)

FOLDER = Path(__file__).parent / "istiod"
CONFIG = FOLDER / "config"

CLASSES: dict[str, type[Message]] = {
    "CDS": cluster_pb2.Cluster,
    "EDS": endpoint_pb2.ClusterLoadAssignment,
    "LDS": listener_pb2.Listener,
    "RDS": route_pb2.RouteConfiguration,
}


def captured(file: str) -> dict[str, Message]:
    """The resources of a captured response, by name."""
    kind = file.removesuffix(".json").rpartition("-")[2]
    found = {}
    for item in json.loads((FOLDER / file).read_text())["resources"]:
        body = item.get("resource", item)
        name = body.get("cluster_name") or body["name"]
        found[name] = json_format.ParseDict(body, CLASSES[kind]())
    return found


def captured_of_all_types(file: str) -> dict[tuple[str, str], Message]:
    """The resources of a file that holds a list for each type, by type and name."""
    found = {}
    for kind, items in json.loads((FOLDER / file).read_text()).items():
        for body in items:
            found[kind, body.get("cluster_name") or body["name"]] = json_format.ParseDict(body, CLASSES[kind]())
    return found


def without(listener: Message, names: str) -> Message:
    """The listener without the network and HTTP filters whose names match, and without what is said to a log or a
    tracer: their indexes would shift all that follow."""
    listener.ClearField("access_log")
    for chain in listener.filter_chains:
        chain.filters.MergeFrom([kept for kept in _taken(chain.filters) if not re.fullmatch(names, kept.name)])
        for each in chain.filters:
            manager = http_connection_manager_pb2.HttpConnectionManager()
            proxy = tcp_proxy_pb2.TcpProxy()
            if each.typed_config.Unpack(manager):
                filters = [kept for kept in _taken(manager.http_filters) if not re.fullmatch(names, kept.name)]
                manager.http_filters.MergeFrom(filters)
                manager.ClearField("tracing")
                manager.ClearField("access_log")
                each.typed_config.Pack(manager)
            elif each.typed_config.Unpack(proxy):
                proxy.ClearField("access_log")
                each.typed_config.Pack(proxy)
    return listener


def _taken(filters: Any) -> list[Any]:
    taken = list(filters)
    del filters[:]
    return taken


def fields(message: Message) -> dict[str, Any]:
    """Every field that is set, by its path; presence counts, so an empty message is a row of its own."""
    as_json = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return dict(_flatten(as_json, ""))


def _flatten(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flatten(item, f"{path}[{index}]")
    else:
        yield path, value


def differences(theirs: Message | None, ours: Message | None) -> dict[str, tuple[Any, Any]]:
    """The fields that are not equal: path to (istiod's value, ours); None where one has none."""
    left = fields(theirs) if theirs is not None else {}
    right = fields(ours) if ours is not None else {}
    return {
        path: (left.get(path), right.get(path))
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    }
