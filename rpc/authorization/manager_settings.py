"""Which settings of a chain's connection manager calls are as well served without. Policy only: pure functions.

Each field has a verdict here: somebody obeys it, or nothing that anybody relies on changes without it, or it closes the
chain by name unless it says what is done anyhow. What lets fewer requests in, or changes what rules and handlers see,
must not be passed over (`tests/rpc/authorization/test_manager_settings.py` walks the fields).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from xds_client.model import ConnectionManager, Http2, HttpCommon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xds_client.model import RouteConfiguration

_ENVOYS_HEADERS = 100  # fields of a request, where nothing is said
_ENVOYS_HEADERS_KB = 60  # of all fields of a request, where nothing is said
_SHOWN = {"routes": "route_config", "left_out": "unreadable fields"}  # what the model has its own name for
_REWRITES = (
    "prefix_rewrite",
    "regex_rewrite",
    "path_rewrite_policy",
    "path_rewrite",
    "host_rewrite_literal",
    "auto_host_rewrite",
    "host_rewrite_header",
    "host_rewrite_path_regex",
    "host_rewrite",
)

Verdicts: TypeAlias = "dict[type, dict[str, tuple[str, ...]]]"

OBEYED: Verdicts = {
    ConnectionManager: {
        "rpc.authorization.program, before any filter": (
            "normalize_path",
            "merge_slashes",
            "path_with_escaped_slashes_action",
            "strip_matching_host_port",
            "strip_any_host_port",
            "strip_trailing_host_dot",
            "forward_client_cert_details",
        ),
        "whoever asks for a request's address": ("use_remote_address", "xff_num_trusted_hops"),
        "xds_client.decode.inbound_traffic closes their chain": ("rds_route_name",),
    },
    HttpCommon: {},
    Http2: {},
}
HARMLESS: Verdicts = {
    ConnectionManager: {
        "it names statistics": ("stat_prefix",),
        "it ends what was let in: callers' deadlines hold, and the server's own limits (docs/security.md)": (
            "stream_idle_timeout",
            "stream_flush_timeout",
            "request_timeout",
            "request_headers_timeout",
            "drain_timeout",
            "delayed_close_timeout",
        ),
        "it is about x-envoy-internal, which no rule may ask for": ("internal_address_config",),
        "X-Forwarded-For is handed to handlers as it came": ("skip_xff_append",),
        "of certificates less is told than it allows": ("set_current_client_cert_details",),
        "it is about how an answer is worded, and who gave it": (
            "local_reply_config",
            "server_name",
            "server_header_transformation",
        ),
    },
    HttpCommon: {
        "it ends what was let in: callers' deadlines hold, and the server's own limits (docs/security.md)": (
            "idle_timeout",
            "max_connection_duration",
            "max_stream_duration",
            "max_requests_per_connection",
        ),
        "it is about answers of hosts behind": ("max_response_headers_kb",),
    },
    Http2: {
        "how much at a time, not what: the server's own limits hold (docs/security.md)": (
            "hpack_table_size",
            "max_concurrent_streams",
            "initial_stream_window_size",
            "initial_connection_window_size",
            "max_outbound_frames",
            "max_outbound_control_frames",
            "max_consecutive_inbound_frames_with_empty_payload",
            "max_inbound_priority_frames_per_stream",
            "max_inbound_window_update_frames_per_data_frame_sent",
            "connection_keepalive",
        ),
        "whatever it allows: CONNECT is refused, and frames of METADATA nobody reads": (
            "allow_connect",
            "allow_metadata",
            "max_metadata_size",
        ),
        "what is malformed is refused, with the stream or with the connection": (
            "stream_error_on_invalid_http_messaging",
            "override_stream_error_on_invalid_http_message",
        ),
    },
}


def _unless(*harmless: object) -> Callable[[Any], Iterator[str]]:
    """It stands in the way if it says something else."""

    def found(value: object) -> Iterator[str]:
        if value not in harmless:
            yield f" ({value})" if isinstance(value, str | int) and not isinstance(value, bool) else ""

    return found


def _least(number: int) -> Callable[[int | None], Iterator[str]]:
    """It stands in the way if it is less, where Envoy would let fewer in."""

    def found(value: int | None) -> Iterator[str]:
        if value is not None and value < number:
            yield f" ({value})"

    return found


def _of_routes(routes: RouteConfiguration | None) -> Iterator[str]:
    """What they say besides to headers and filters is `rpc.authorization.route_headers`' and the filters' to obey."""
    if routes is None:
        return
    yield from (f": {problem}" for problem in routes.terms.left_out)
    if routes.terms.internal_only_headers:
        yield ".internal_only_headers"
    for host in routes.virtual_hosts:
        yield from (f": {problem}" for problem in host.left_out)
        for route in host.routes:
            yield from (f": {problem}" for problem in route.unread)
            yield from (f": {name}" for name in _REWRITES if route.forward and getattr(route.forward, name))


def _of(settings: object) -> Iterator[str]:
    if settings is None:
        return
    for name, found in CLOSES[type(settings)].items():
        yield from (f".{_SHOWN.get(name, name)}{what}" for what in found(getattr(settings, name)))


CLOSES: dict[type, dict[str, Callable[[Any], Iterator[str]]]] = {
    ConnectionManager: {
        "codec_type": _unless("AUTO", "HTTP2"),
        "routes": _of_routes,
        "common_http_protocol_options": _of,
        "http2_protocol_options": _of,
        "max_request_headers_kb": _least(_ENVOYS_HEADERS_KB),
        "original_ip_detection_extensions": _unless(()),
        "early_header_mutation_extensions": _unless(()),
        "path_normalization_options": _unless(None),
        "typed_header_validation_config": _unless(None),
        "forward_client_cert_matcher": _unless(None),
        "scheme_header_transformation": _unless(None),
        "add_user_agent": _unless(None, False),
        "via": _unless(""),
        "append_x_forwarded_port": _unless(False),
        "left_out": lambda problems: (f": {problem}" for problem in problems),
    },
    HttpCommon: {
        "max_headers_count": _unless(None, _ENVOYS_HEADERS),
        "headers_with_underscores_action": _unless("ALLOW"),
    },
    Http2: {},
}


def settings_not_carried_out(manager: ConnectionManager | None) -> str:
    """What of it stands in the way of calls, by name; empty: nothing."""
    return ", ".join(dict.fromkeys(f"its connection manager's {what[1:]}" for what in _of(manager)))
