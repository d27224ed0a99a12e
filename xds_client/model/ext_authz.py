"""Whom to ask whether a request may pass (envoy.extensions.filters.http.ext_authz.v3). Frozen values, no behaviour.

Each class says which message it is, whose field names it keeps; times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.header_mutation import HeaderMutationRules
    from xds_client.model.matching import MetadataMatch, StringListMatch
    from xds_client.model.services import GrpcService, HttpUri, ServiceRetries
    from xds_client.model.values import Fraction, HeaderValue, RuntimeFlag, Struct


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """``BufferSettings``."""

    max_request_bytes: int = 0
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """``AuthorizationRequest``."""

    allowed_headers: StringListMatch | None = None
    headers_to_add: tuple[HeaderValue, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """``AuthorizationResponse``."""

    allowed_upstream_headers: StringListMatch | None = None
    allowed_upstream_headers_to_append: StringListMatch | None = None
    allowed_client_headers: StringListMatch | None = None
    allowed_client_headers_on_success: StringListMatch | None = None
    dynamic_metadata_from_headers: StringListMatch | None = None


@dataclass(frozen=True, slots=True)
class HttpAuthorizer:
    """``HttpService``."""

    server_uri: HttpUri | None = None
    path_prefix: str = ""
    authorization_request: AuthorizationRequest | None = None
    authorization_response: AuthorizationResponse | None = None
    retry_policy: ServiceRetries | None = None


@dataclass(frozen=True, slots=True)
class ExtAuthz:
    """``ExtAuthz``: ``grpc_service`` or ``http_service``. ``status_on_error`` is HTTP's; None: 403.

    ``filter_enabled`` None: for every request; ``filter_enabled_metadata`` None: besides, whatever the metadata.
    """

    grpc_service: GrpcService | None = None
    http_service: HttpAuthorizer | None = None
    transport_api_version: str = "AUTO"
    failure_mode_allow: bool = False
    failure_mode_allow_header_add: bool = False
    with_request_body: BufferSettings | None = None
    clear_route_cache: bool = False
    status_on_error: int | None = None
    validate_mutations: bool = False
    metadata_context_namespaces: tuple[str, ...] = ()
    typed_metadata_context_namespaces: tuple[str, ...] = ()
    route_metadata_context_namespaces: tuple[str, ...] = ()
    route_typed_metadata_context_namespaces: tuple[str, ...] = ()
    filter_enabled: Fraction | None = None
    filter_enabled_metadata: MetadataMatch | None = None
    deny_at_disable: RuntimeFlag | None = None
    include_peer_certificate: bool = False
    stat_prefix: str = ""
    bootstrap_metadata_labels_key: str = ""
    allowed_headers: StringListMatch | None = None
    disallowed_headers: StringListMatch | None = None
    include_tls_session: bool = False
    charge_cluster_response_stats: bool | None = None
    encode_raw_headers: bool = False
    decoder_header_mutation_rules: HeaderMutationRules | None = None
    enable_dynamic_metadata_ingestion: bool | None = None
    filter_metadata: Struct | None = None
    emit_filter_state_stats: bool = False
    max_denied_response_body_bytes: int = 0
    enforce_response_header_limits: bool = False


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """``CheckSettings``: ``context_extensions`` are pairs, sorted."""

    context_extensions: tuple[tuple[str, str], ...] = ()
    disable_request_body_buffering: bool = False
    with_request_body: BufferSettings | None = None
    grpc_service: GrpcService | None = None
    http_service: HttpAuthorizer | None = None


@dataclass(frozen=True, slots=True)
class ExtAuthzPerRoute:
    """``ExtAuthzPerRoute``."""

    disabled: bool | None = None
    check_settings: CheckSettings | None = None
