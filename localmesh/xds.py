"""The one door to the xDS messages (gRPC's own generated ones, by the names of their packages), and their helpers.

A package of Envoy's is several modules of generated code; here it is one name. Used from any thread.
"""

# mypy: disable-error-code="import-untyped"
# The generated code has no types: all its messages are Any.

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

# isort: off
from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2
from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    config_source_pb2,
    extension_pb2,
    grpc_service_pb2,
    protocol_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rbac
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.common.fault.v3 import fault_pb2 as common_fault
from envoy.extensions.filters.http.cors.v3 import cors_pb2 as cors
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2 as ext_authz
from envoy.extensions.filters.http.fault.v3 import fault_pb2 as fault
from envoy.extensions.filters.http.grpc_stats.v3 import config_pb2 as grpc_stats
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_authn
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.http.router.v3 import router_pb2 as router
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2 as http_inspector
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2 as original_dst
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as tls_inspector
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as http_connection_manager,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as tcp_proxy
from envoy.extensions.network.dns_resolver.cares.v3 import cares_dns_resolver_pb2 as cares
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2 as uri_template
from envoy.extensions.request_id.uuid.v3 import uuid_pb2 as uuid
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as previous_hosts
from envoy.extensions.retry.priority.previous_priorities.v3 import (
    previous_priorities_config_pb2 as previous_priorities,
)
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2 as raw_buffer
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as http
from envoy.service.discovery.v3 import discovery_pb2 as discovery
from envoy.type.matcher.v3 import metadata_pb2, path_pb2, regex_pb2, string_pb2, value_pb2
from envoy.type.v3 import http_status_pb2, percent_pb2, range_pb2
from google.protobuf import any_pb2, struct_pb2
# isort: on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

    from google.protobuf.message import Message

__all__ = [
    "JsonScalar",
    "Packed",
    "any_of",
    "cares",
    "cluster",
    "common_fault",
    "core",
    "cors",
    "discovery",
    "endpoint",
    "ext_authz",
    "fault",
    "fraction_of_hundred",
    "fraction_of_million",
    "grpc_stats",
    "http",
    "http_connection_manager",
    "http_inspector",
    "http_rbac",
    "istio_metadata",
    "jwt_authn",
    "listener",
    "matcher",
    "network_ext_authz",
    "network_rbac",
    "original_dst",
    "packed",
    "previous_hosts",
    "previous_priorities",
    "raw_buffer",
    "rbac",
    "route",
    "router",
    "struct",
    "tcp_proxy",
    "tls",
    "tls_inspector",
    "types",
    "uri_template",
    "uuid",
    "wrapped",
]

JsonScalar = str | bool | float


def _package(*modules: ModuleType) -> Any:
    """All messages and enumerations of the modules."""
    found = {name: value for module in modules for name, value in vars(module).items() if not name.startswith("_")}
    return SimpleNamespace(**found)


if TYPE_CHECKING:  # there are no types of what they hold; a name of an untyped module is one that annotations may use
    cluster = core = endpoint = listener = matcher = route = tls = types = cluster_pb2
else:
    cluster = _package(circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2)
    core = _package(address_pb2, base_pb2, config_source_pb2, extension_pb2, grpc_service_pb2, protocol_pb2)
    endpoint = _package(endpoint_components_pb2, endpoint_pb2)
    listener = _package(listener_components_pb2, listener_pb2)
    matcher = _package(metadata_pb2, path_pb2, regex_pb2, string_pb2, value_pb2)
    route = _package(route_components_pb2, route_pb2)
    tls = _package(common_pb2, secret_pb2, tls_pb2)
    types = _package(http_status_pb2, percent_pb2, range_pb2)

_TYPE_URL = "type.googleapis.com/"


def any_of(message: Message) -> any_pb2.Any:
    """The message in an Any: the same bytes for the same message, whatever the order of its maps."""
    value = message.SerializeToString(deterministic=True)
    return any_pb2.Any(type_url=_TYPE_URL + message.DESCRIPTOR.full_name, value=value)


@dataclass(frozen=True, slots=True)
class Packed:
    """What an Any holds, in a tenth of its memory: to be remembered."""

    type_url: str
    value: bytes


def packed(message: Message) -> Packed:
    return Packed(_TYPE_URL + message.DESCRIPTOR.full_name, message.SerializeToString())


def wrapped(value: JsonScalar | None) -> dict[str, JsonScalar] | None:
    """For a field of UInt32Value, BoolValue, ...; None: it is not set."""
    return None if value is None else {"value": value}


def struct(fields: Mapping[str, JsonScalar | Sequence[Mapping[str, JsonScalar]]]) -> struct_pb2.Struct:
    """A google.protobuf.Struct of scalars and of lists of such structs: all that istiod puts into metadata."""
    out = struct_pb2.Struct()
    out.update(fields)
    return out


def istio_metadata(fields: Mapping[str, JsonScalar | Sequence[Mapping[str, JsonScalar]]]) -> Any:
    return core.Metadata(filter_metadata={"istio": struct(fields)})


def fraction_of_million(percent: float) -> Any:
    """Istio's Percent, as istiod's translatePercentToFractionalPercent writes it."""
    return types.FractionalPercent(numerator=int(percent * 10000), denominator=types.FractionalPercent.MILLION)


def fraction_of_hundred(percent: int) -> Any:
    return types.FractionalPercent(numerator=percent, denominator=types.FractionalPercent.HUNDRED)
