"""What a route does with a request, whole. Frozen values, no behaviour; times in seconds, None: not said, 0: no limit.

Each class says which message of Envoy's it is, whose field names it keeps (envoy.config.route.v3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xds_client.model.values import NO_OPERATIONS

if TYPE_CHECKING:
    from xds_client.model.header_mutation import HeaderMutation
    from xds_client.model.rate_limit import RateLimit
    from xds_client.model.retry import HedgePolicy, RetryPolicy
    from xds_client.model.values import DataSource, Extension, Fraction, HeaderOperations, Metadata, RegexRewrite


@dataclass(frozen=True, slots=True)
class ClusterWeight:
    """``WeightedCluster.ClusterWeight``: a share of the requests, and what is done with them besides."""

    name: str = ""
    cluster_header: str = ""
    weight: int | None = None
    metadata_match: Metadata | None = None
    headers: HeaderOperations = NO_OPERATIONS
    typed_per_filter_config: tuple[tuple[str, object], ...] = ()
    host_rewrite_literal: str | None = None


@dataclass(frozen=True, slots=True)
class WeightedClusters:
    """``WeightedCluster``: ``header_name`` or ``use_hash_policy`` decide the share in place of chance."""

    clusters: tuple[ClusterWeight, ...] = ()
    total_weight: int | None = None
    runtime_key_prefix: str = ""
    header_name: str | None = None
    use_hash_policy: bool | None = None


@dataclass(frozen=True, slots=True)
class RequestMirrorPolicy:
    """``RouteAction.RequestMirrorPolicy``: a copy goes there too; ``runtime_fraction`` None: of every request."""

    cluster: str = ""
    cluster_header: str = ""
    runtime_fraction: Fraction | None = None
    trace_sampled: bool | None = None
    disable_shadow_host_suffix_append: bool = False
    request_headers_mutations: tuple[HeaderMutation, ...] = ()
    host_rewrite_literal: str = ""


@dataclass(frozen=True, slots=True)
class HashHeader:
    """``RouteAction.HashPolicy.Header``."""

    header_name: str = ""
    regex_rewrite: RegexRewrite | None = None


@dataclass(frozen=True, slots=True)
class Cookie:
    """``RouteAction.HashPolicy.Cookie`` and ``envoy.type.http.v3.Cookie``. ``ttl`` None: it is not made, only read;
    ``attributes`` are pairs of name and value.
    """

    name: str = ""
    ttl: float | None = None
    path: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """``RouteAction.HashPolicy``: one of the first five is said. ``terminal``: if it gives a hash, it is the last."""

    header: HashHeader | None = None
    cookie: Cookie | None = None
    source_ip: bool | None = None
    query_parameter: str | None = None
    filter_state: str | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class MaxStreamDuration:
    """``RouteAction.MaxStreamDuration``."""

    max_stream_duration: float | None = None
    grpc_timeout_header_max: float | None = None
    grpc_timeout_header_offset: float | None = None


@dataclass(frozen=True, slots=True)
class UpgradeConfig:
    """``RouteAction.UpgradeConfig``."""

    upgrade_type: str = ""
    enabled: bool | None = None
    connect_config: object = None


@dataclass(frozen=True, slots=True)
class InternalRedirectPolicy:
    """``InternalRedirectPolicy``."""

    max_internal_redirects: int | None = None
    redirect_response_codes: tuple[int, ...] = ()
    predicates: tuple[Extension, ...] = ()
    allow_cross_scheme_redirect: bool = False
    response_headers_to_copy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteAction:
    """``RouteAction``. One of ``cluster``, ``cluster_header``, ``weighted_clusters``, ``cluster_specifier_plugin`` and
    ``inline_cluster_specifier_plugin`` is said, and one way at most to rewrite the host.
    """

    cluster: str | None = None
    cluster_header: str | None = None
    weighted_clusters: WeightedClusters | None = None
    cluster_specifier_plugin: str | None = None
    inline_cluster_specifier_plugin: Extension | None = None
    cluster_not_found_response_code: str = "SERVICE_UNAVAILABLE"
    metadata_match: Metadata | None = None
    prefix_rewrite: str = ""
    regex_rewrite: RegexRewrite | None = None
    path_rewrite_policy: Extension | None = None
    path_rewrite: str = ""
    host_rewrite_literal: str | None = None
    auto_host_rewrite: bool | None = None
    host_rewrite_header: str | None = None
    host_rewrite_path_regex: RegexRewrite | None = None
    host_rewrite: str | None = None
    append_x_forwarded_host: bool = False
    timeout: float | None = None
    idle_timeout: float | None = None
    flush_timeout: float | None = None
    max_grpc_timeout: float | None = None
    grpc_timeout_offset: float | None = None
    max_stream_duration: MaxStreamDuration | None = None
    early_data_policy: Extension | None = None
    retry_policy: RetryPolicy | None = None
    retry_policy_typed_config: object = None
    hedge_policy: HedgePolicy | None = None
    request_mirror_policies: tuple[RequestMirrorPolicy, ...] = ()
    priority: str = "DEFAULT"
    rate_limits: tuple[RateLimit, ...] = ()
    include_vh_rate_limits: bool | None = None
    hash_policy: tuple[HashPolicy, ...] = ()
    upgrade_configs: tuple[UpgradeConfig, ...] = ()
    internal_redirect_policy: InternalRedirectPolicy | None = None


@dataclass(frozen=True, slots=True)
class RedirectAction:
    """``RedirectAction``."""

    https_redirect: bool | None = None
    scheme_redirect: str | None = None
    host_redirect: str = ""
    port_redirect: int = 0
    path_redirect: str | None = None
    prefix_rewrite: str | None = None
    regex_rewrite: RegexRewrite | None = None
    response_code: str = "MOVED_PERMANENTLY"
    strip_query: bool = False


@dataclass(frozen=True, slots=True)
class DirectResponseAction:
    """``DirectResponseAction``: ``status`` is HTTP's."""

    status: int = 0
    body: DataSource | None = None
    body_format: object = None


@dataclass(frozen=True, slots=True)
class Decorator:
    """``Decorator``: how traces call what the route is for."""

    operation: str = ""
    propagate: bool | None = None


@dataclass(frozen=True, slots=True)
class FilterOverride:
    """``FilterConfig``: what a route says to a filter (``config``), or that it is not for it (``disabled``)."""

    config: object = None
    is_optional: bool = False
    disabled: bool = False
