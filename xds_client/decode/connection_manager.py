"""How a chain treats requests (envoy/extensions/filters/network/http_connection_manager/v3): a table.

Nothing of it is an error here: what a chain must not say is `xds_client.decode.inbound_traffic`'s to refuse.
"""

from __future__ import annotations

from envoy.extensions.filters.network.http_connection_manager.v3 import (  # type: ignore[import-untyped]
    http_connection_manager_pb2,
)

from xds_client.decode import route, traffic_policy
from xds_client.decode.extensions import as_it_came
from xds_client.decode.shape import Shape
from xds_client.model import ConnectionManager

# Tables that this one looks up by name.
assert route
assert traffic_policy

_manager = http_connection_manager_pb2.HttpConnectionManager
_AS_THEY_CAME = (
    "internal_address_config",
    "set_current_client_cert_details",
    "forward_client_cert_matcher",
    "path_normalization_options",
    "local_reply_config",
    "scheme_header_transformation",
)
_NOT_KEPT = {
    "inbound routes that are elsewhere close their chain": ("scoped_routes",),
    "telemetry says what is traced and written": (
        "tracing",
        "access_log",
        "access_log_flush_interval",
        "flush_access_log_on_new_request",
        "access_log_options",
        "request_id_extension",
        "generate_request_id",
        "preserve_external_request_id",
        "always_set_request_id_in_response",
        "proxy_status_config",
    ),
    "no HTTP/1.1 or HTTP/3 is spoken": (
        "http_protocol_options",
        "http1_safe_max_connection_duration",
        "http3_protocol_options",
        "proxy_100_continue",
        "stream_error_on_invalid_http_message",
    ),
    "nothing is passed on to another host, which could be told": (
        "represent_ipv4_remote_address_as_ipv4_mapped_ipv6",
        "add_proxy_protocol_connection_state",
    ),
    "it is about Envoy's own load": ("append_local_overload",),
}

connection_manager_shape = Shape(
    ConnectionManager,
    _manager,
    renamed={"route_config": "routes", "rds": "rds_route_name"},
    by=dict.fromkeys(_AS_THEY_CAME, as_it_came) | {"rds": lambda said: said.route_config_name},
    by_hand=frozenset({"http_filters", "upgrade_configs"}),
    not_kept={name: reason for reason, names in _NOT_KEPT.items() for name in names},
)


def connection_manager(packed: bytes) -> ConnectionManager:
    message = _manager.FromString(packed)
    problems: list[str] = []
    said = connection_manager_shape.said(message, problems)
    return ConnectionManager(**said, left_out=tuple(problems))
