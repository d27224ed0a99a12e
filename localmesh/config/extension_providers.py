"""MeshConfig's extensionProviders, as far as they decide who may call: whom a policy with the action CUSTOM asks.

What istiod only finds when a policy uses the provider is no fault here either (`localmesh.compile` finds it).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from localmesh.config.decode import Spec


@dataclass(frozen=True, slots=True)
class RequestBody(Spec):
    """How much of a request's body is sent along; without this, nothing."""

    max_request_bytes: int = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


@dataclass(frozen=True, slots=True)
class ExtAuthzGrpc(Spec):
    service: str = ""
    port: int = 0
    timeout: timedelta | None = None
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_request_body_in_check: RequestBody | None = None


@dataclass(frozen=True, slots=True)
class ExtAuthzHttp(Spec):
    service: str = ""
    port: int = 0
    timeout: timedelta | None = None
    path_prefix: str = ""
    fail_open: bool = False
    clear_route_cache: bool = False
    status_on_error: str = ""
    include_headers_in_check: tuple[str, ...] = ()  # the older name of the next one
    include_request_headers_in_check: tuple[str, ...] = ()
    include_additional_headers_in_check: Mapping[str, str] = field(default_factory=dict)
    include_request_body_in_check: RequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtensionProvider(Spec):
    """Those for traces, logs and metrics are known, and nobody's business here."""

    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = (
        (
            *("envoyExtAuthzHttp", "envoyExtAuthzGrpc", "zipkin", "lightstep", "datadog", "stackdriver", "opencensus"),
            *("skywalking", "opentelemetry", "prometheus", "envoyFileAccessLog", "envoyHttpAls", "envoyTcpAls"),
            *("envoyOtelAls", "sds"),
        ),
    )

    name: str = ""
    envoy_ext_authz_http: ExtAuthzHttp | None = None
    envoy_ext_authz_grpc: ExtAuthzGrpc | None = None
    zipkin: Any = None
    lightstep: Any = None
    datadog: Any = None
    stackdriver: Any = None
    opencensus: Any = None
    skywalking: Any = None
    opentelemetry: Any = None
    prometheus: Any = None
    envoy_file_access_log: Any = None
    envoy_http_als: Any = None
    envoy_tcp_als: Any = None
    envoy_otel_als: Any = None
    sds: Any = None

    @property
    def authorizer(self) -> ExtAuthzHttp | ExtAuthzGrpc | None:
        return self.envoy_ext_authz_http or self.envoy_ext_authz_grpc
