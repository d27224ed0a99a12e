"""How a cluster wants to be called: balancing, ejection, limits, connections. Frozen values, no behaviour.

Each class says which message of Envoy's it is, whose field names it keeps (envoy.config.cluster.v3 where nothing else
is said). Times in seconds; None: not said, and what Envoy takes then is in the proto.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.filter import Filter
    from xds_client.model.retry import RetryPolicy
    from xds_client.model.route_action import HashPolicy, RequestMirrorPolicy
    from xds_client.model.values import Extension, RuntimeNumber, Struct


@dataclass(frozen=True, slots=True)
class SlowStart:
    """``Cluster.SlowStartConfig``."""

    slow_start_window: float | None = None
    aggression: RuntimeNumber | None = None
    min_weight_percent: float | None = None


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """``Cluster.RoundRobinLbConfig``."""

    slow_start_config: SlowStart | None = None


@dataclass(frozen=True, slots=True)
class LeastRequest:
    """``Cluster.LeastRequestLbConfig``."""

    choice_count: int | None = None
    active_request_bias: RuntimeNumber | None = None
    slow_start_config: SlowStart | None = None


@dataclass(frozen=True, slots=True)
class RingHash:
    """``Cluster.RingHashLbConfig``: ``hash_function`` is XX_HASH or MURMUR_HASH_2."""

    minimum_ring_size: int | None = None
    maximum_ring_size: int | None = None
    hash_function: str = "XX_HASH"


@dataclass(frozen=True, slots=True)
class Maglev:
    """``Cluster.MaglevLbConfig``."""

    table_size: int | None = None


@dataclass(frozen=True, slots=True)
class OriginalDst:
    """``Cluster.OriginalDstLbConfig``: ``metadata_key`` is the filter's name and a path."""

    use_http_header: bool = False
    http_header_name: str = ""
    upstream_port_override: int | None = None
    metadata_key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneAware:
    """``Cluster.CommonLbConfig.ZoneAwareLbConfig``: ``routing_enabled`` in per cent."""

    routing_enabled: float | None = None
    min_cluster_size: int | None = None
    fail_traffic_on_panic: bool = False


@dataclass(frozen=True, slots=True)
class CommonBalancing:
    """``Cluster.CommonLbConfig``: ``healthy_panic_threshold`` in per cent."""

    healthy_panic_threshold: float | None = None
    zone_aware_lb_config: ZoneAware | None = None
    locality_weighted_lb_config: bool = False
    update_merge_window: float | None = None
    ignore_new_hosts_until_first_hc: bool = False
    close_connections_on_host_set_change: bool = False
    use_hostname_for_hashing: bool = False
    hash_balance_factor: int | None = None
    override_host_status: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SubsetSelector:
    """``Cluster.LbSubsetConfig.LbSubsetSelector``."""

    keys: tuple[str, ...] = ()
    single_host_per_subset: bool = False
    fallback_policy: str = "NOT_DEFINED"
    fallback_keys_subset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subsets:
    """``Cluster.LbSubsetConfig``."""

    fallback_policy: str = "NO_FALLBACK"
    default_subset: Struct | None = None
    subset_selectors: tuple[SubsetSelector, ...] = ()
    locality_weight_aware: bool = False
    scale_locality_weight: bool = False
    panic_mode_any: bool = False
    list_as_any: bool = False
    metadata_fallback_policy: str = "METADATA_NO_FALLBACK"


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """``OutlierDetection``; what enforces is in per cent."""

    consecutive_5xx: int | None = None
    interval: float | None = None
    base_ejection_time: float | None = None
    max_ejection_time: float | None = None
    max_ejection_time_jitter: float | None = None
    max_ejection_percent: int | None = None
    enforcing_consecutive_5xx: int | None = None
    enforcing_success_rate: int | None = None
    success_rate_minimum_hosts: int | None = None
    success_rate_request_volume: int | None = None
    success_rate_stdev_factor: int | None = None
    consecutive_gateway_failure: int | None = None
    enforcing_consecutive_gateway_failure: int | None = None
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failure: int | None = None
    enforcing_consecutive_local_origin_failure: int | None = None
    enforcing_local_origin_success_rate: int | None = None
    failure_percentage_threshold: int | None = None
    enforcing_failure_percentage: int | None = None
    enforcing_failure_percentage_local_origin: int | None = None
    failure_percentage_minimum_hosts: int | None = None
    failure_percentage_request_volume: int | None = None
    successful_active_health_check_uneject_host: bool | None = None
    monitors: tuple[Extension, ...] = ()
    always_eject_one_host: bool | None = None


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """``CircuitBreakers.Thresholds.RetryBudget``."""

    budget_percent: float | None = None
    min_retry_concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """``CircuitBreakers.Thresholds``: ``priority`` is DEFAULT or HIGH; istiod says 4294967295 for no limit."""

    priority: str = "DEFAULT"
    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None
    retry_budget: RetryBudget | None = None
    track_remaining: bool = False
    max_connection_pools: int | None = None


@dataclass(frozen=True, slots=True)
class CircuitBreakers:
    """``CircuitBreakers``."""

    thresholds: tuple[Thresholds, ...] = ()
    per_host_thresholds: tuple[Thresholds, ...] = ()


@dataclass(frozen=True, slots=True)
class TcpKeepalive:
    """``envoy.config.core.v3.TcpKeepalive``: times in whole seconds."""

    keepalive_probes: int | None = None
    keepalive_time: int | None = None
    keepalive_interval: int | None = None


@dataclass(frozen=True, slots=True)
class UpstreamConnection:
    """``UpstreamConnectionOptions``."""

    tcp_keepalive: TcpKeepalive | None = None
    set_local_interface_name_on_upstream_connections: bool = False
    happy_eyeballs_config: object = None


@dataclass(frozen=True, slots=True)
class HttpCommon:
    """``envoy.config.core.v3.HttpProtocolOptions``."""

    idle_timeout: float | None = None
    max_connection_duration: float | None = None
    max_headers_count: int | None = None
    max_response_headers_kb: int | None = None
    max_stream_duration: float | None = None
    headers_with_underscores_action: str = "ALLOW"
    max_requests_per_connection: int | None = None


@dataclass(frozen=True, slots=True)
class Http2Keepalive:
    """``envoy.config.core.v3.KeepaliveSettings``: ``interval_jitter`` in per cent."""

    interval: float | None = None
    timeout: float | None = None
    interval_jitter: float | None = None
    connection_idle_interval: float | None = None


@dataclass(frozen=True, slots=True)
class Http2:
    """``envoy.config.core.v3.Http2ProtocolOptions``."""

    hpack_table_size: int | None = None
    max_concurrent_streams: int | None = None
    initial_stream_window_size: int | None = None
    initial_connection_window_size: int | None = None
    allow_connect: bool = False
    allow_metadata: bool = False
    max_outbound_frames: int | None = None
    max_outbound_control_frames: int | None = None
    max_consecutive_inbound_frames_with_empty_payload: int | None = None
    max_inbound_priority_frames_per_stream: int | None = None
    max_inbound_window_update_frames_per_data_frame_sent: int | None = None
    stream_error_on_invalid_http_messaging: bool = False
    override_stream_error_on_invalid_http_message: bool | None = None
    connection_keepalive: Http2Keepalive | None = None
    max_metadata_size: int | None = None


@dataclass(frozen=True, slots=True)
class UpstreamHttp:
    """``envoy.extensions.upstreams.http.v3.HttpProtocolOptions``.

    ``protocol`` is the name of the field that says which HTTP is spoken: explicit_http_config,
    use_downstream_protocol_config or auto_config. ``auto_sni`` and its siblings are `UpstreamTls`'s to obey.
    """

    common_http_protocol_options: HttpCommon | None = None
    auto_sni: bool = False
    auto_san_validation: bool = False
    override_auto_sni_header: str = ""
    protocol: str = ""
    http2_protocol_options: Http2 | None = None
    http_filters: tuple[Filter, ...] = ()
    header_validation_config: Extension | None = None
    outlier_detection: object = None
    request_mirror_policies: tuple[RequestMirrorPolicy, ...] = ()
    hash_policy: tuple[HashPolicy, ...] = ()
    retry_policy: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class RefreshRate:
    """``Cluster.RefreshRate``."""

    base_interval: float | None = None
    max_interval: float | None = None


@dataclass(frozen=True, slots=True)
class Preconnect:
    """``Cluster.PreconnectPolicy``."""

    per_upstream_preconnect_ratio: float | None = None
    predictive_preconnect_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterTerms:
    """What a ``Cluster`` says besides who it is, where its endpoints are and how they are secured.

    Many clusters say the same; these are one value then.
    """

    per_connection_buffer_limit_bytes: int | None = None
    health_checks: tuple[object, ...] = ()
    max_requests_per_connection: int | None = None
    circuit_breakers: CircuitBreakers | None = None
    common_http_protocol_options: HttpCommon | None = None
    http2_protocol_options: Http2 | None = None
    typed_extension_protocol_options: tuple[tuple[str, object], ...] = ()
    dns_refresh_rate: float | None = None
    dns_jitter: float | None = None
    dns_failure_refresh_rate: RefreshRate | None = None
    respect_dns_ttl: bool = False
    dns_lookup_family: str = "AUTO"
    use_tcp_for_dns_lookups: bool = False
    typed_dns_resolver_config: Extension | None = None
    wait_for_warm_on_init: bool | None = None
    outlier_detection: OutlierDetection | None = None
    cleanup_interval: float | None = None
    upstream_bind_config: object = None
    lb_subset_config: Subsets | None = None
    ring_hash_lb_config: RingHash | None = None
    maglev_lb_config: Maglev | None = None
    original_dst_lb_config: OriginalDst | None = None
    least_request_lb_config: LeastRequest | None = None
    round_robin_lb_config: RoundRobin | None = None
    common_lb_config: CommonBalancing | None = None
    protocol_selection: str = "USE_CONFIGURED_PROTOCOL"
    upstream_connection_options: UpstreamConnection | None = None
    close_connections_on_host_health_failure: bool = False
    ignore_health_on_host_removal: bool = False
    filters: tuple[Extension, ...] = ()
    load_balancing_policy: tuple[Extension, ...] | None = None
    lrs_server: object = None
    lrs_report_endpoint_metrics: tuple[str, ...] = ()
    track_timeout_budgets: bool = False
    upstream_config: Extension | None = None
    preconnect_policy: Preconnect | None = None
    connection_pool_per_downstream_connection: bool = False
    transport_socket_matcher: object = None

    @property
    def http(self) -> UpstreamHttp | None:
        """Of the ``typed_extension_protocol_options`` those that every cluster of istiod's has."""
        return next((said for _, said in self.typed_extension_protocol_options if isinstance(said, UpstreamHttp)), None)


NO_CLUSTER_TERMS = ClusterTerms()
