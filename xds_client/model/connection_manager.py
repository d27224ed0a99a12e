"""How a chain treats the requests on its connections. Frozen values, no behaviour; times in seconds, None: not said.

Each class says which message of Envoy's it is, whose field names it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.route import RouteConfiguration
    from xds_client.model.traffic_policy import Http2, HttpCommon
    from xds_client.model.values import Extension


@dataclass(frozen=True, slots=True)
class ConnectionManager:
    """``envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager``, but for its filters, which
    are `FilterChain.http_filters`.

    ``routes``: ``route_config``; None: they are somewhere else, or ``left_out`` says why they cannot be read. What is
    typed ``object`` is as it came.
    """

    codec_type: str = "AUTO"
    stat_prefix: str = ""
    routes: RouteConfiguration | None = None
    rds_route_name: str = ""
    common_http_protocol_options: HttpCommon | None = None
    http2_protocol_options: Http2 | None = None
    max_request_headers_kb: int | None = None
    stream_idle_timeout: float | None = None
    stream_flush_timeout: float | None = None
    request_timeout: float | None = None
    request_headers_timeout: float | None = None
    drain_timeout: float | None = None
    delayed_close_timeout: float | None = None
    use_remote_address: bool | None = None
    xff_num_trusted_hops: int = 0
    original_ip_detection_extensions: tuple[Extension, ...] = ()
    early_header_mutation_extensions: tuple[Extension, ...] = ()
    internal_address_config: object = None
    skip_xff_append: bool = False
    forward_client_cert_details: str = "SANITIZE"
    set_current_client_cert_details: object = None
    forward_client_cert_matcher: object = None
    normalize_path: bool | None = None
    merge_slashes: bool = False
    path_with_escaped_slashes_action: str = "IMPLEMENTATION_SPECIFIC_DEFAULT"
    path_normalization_options: object = None
    strip_matching_host_port: bool = False
    strip_any_host_port: bool | None = None
    strip_trailing_host_dot: bool = False
    local_reply_config: object = None
    server_name: str = ""
    server_header_transformation: str = "OVERWRITE"
    scheme_header_transformation: object = None
    typed_header_validation_config: Extension | None = None
    add_user_agent: bool | None = None
    via: str = ""
    append_x_forwarded_port: bool = False
    left_out: tuple[str, ...] = ()
