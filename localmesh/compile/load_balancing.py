"""Load balancing, connection pool and outlier detection of a cluster, written into its message. Pure.

Follows istiod's `pilot/pkg/networking/core/cluster_traffic_policy.go`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.endpoints import locality_setting
from localmesh.config.destination_rule import (
    ConnectionPool,
    ConsistentHash,
    LoadBalancer,
    SimpleLb,
    TcpKeepalive,
)

if TYPE_CHECKING:
    from datetime import timedelta

    from localmesh.config.destination_rule import OutlierDetection, TrafficPolicy

_NO_LIMIT = 2**32 - 1
_DEFAULT_RING_SIZE = 1024
_LbPolicy = xds.cluster.Cluster.LbPolicy


def apply_connection_pool(cluster: xds.cluster.Cluster, pool: ConnectionPool, connect_timeout: timedelta) -> None:
    """Limits, time-out and keepalive; zero means "not written" in Istio's API."""
    timeout = connect_timeout if pool.tcp.connect_timeout is None else pool.tcp.connect_timeout
    cluster.connect_timeout.FromTimedelta(timeout)
    limits = cluster.circuit_breakers.thresholds.add()
    limits.max_connections.value = pool.tcp.max_connections or _NO_LIMIT
    limits.max_pending_requests.value = pool.http.http1_max_pending_requests or _NO_LIMIT
    limits.max_requests.value = pool.http.http2_max_requests or _NO_LIMIT
    limits.max_retries.value = pool.http.max_retries or _NO_LIMIT
    if pool.tcp.tcp_keepalive is not None:
        keepalive = cluster.upstream_connection_options.tcp_keepalive
        keepalive.SetInParent()
        _set_keepalive(keepalive, pool.tcp.tcp_keepalive)


def _set_keepalive(out: xds.core.TcpKeepalive, keepalive: TcpKeepalive) -> None:
    if keepalive.probes:
        out.keepalive_probes.value = keepalive.probes
    if keepalive.time is not None:
        out.keepalive_time.value = int(keepalive.time.total_seconds())
    if keepalive.interval is not None:
        out.keepalive_interval.value = int(keepalive.interval.total_seconds())


def apply_outlier_detection(cluster: xds.cluster.Cluster, outlier: OutlierDetection) -> None:
    """Success rates stay off; what is counted is also enforced, unless the count is 0."""
    out = cluster.outlier_detection
    out.enforcing_success_rate.value = 0
    if (errors := outlier.consecutive_5xx_errors) is not None:
        out.consecutive_5xx.value, out.enforcing_consecutive_5xx.value = errors, 100 if errors else 0
    if (errors := outlier.consecutive_gateway_errors) is not None:
        out.consecutive_gateway_failure.value = errors
        out.enforcing_consecutive_gateway_failure.value = 100 if errors else 0
    if outlier.interval is not None:
        out.interval.FromTimedelta(outlier.interval)
    if outlier.base_ejection_time is not None:
        out.base_ejection_time.FromTimedelta(outlier.base_ejection_time)
    if outlier.max_ejection_percent:
        out.max_ejection_percent.value = outlier.max_ejection_percent
    if outlier.split_external_local_origin_errors:
        out.split_external_local_origin_errors = True
        out.enforcing_local_origin_success_rate.value = 0
        if outlier.consecutive_local_origin_failures:
            out.consecutive_local_origin_failure.value = outlier.consecutive_local_origin_failures
            out.enforcing_consecutive_local_origin_failure.value = 100
    cluster.common_lb_config.healthy_panic_threshold.value = float(outlier.min_health_percent)


def apply_load_balancer(cluster: xds.cluster.Cluster, policy: TrafficPolicy) -> None:
    setting = locality_setting(policy)
    failing_over = setting is not None and policy.outlier_detection is not None and bool(setting.failover)
    if setting is not None and (setting.distribute or failing_over):
        # only then: it would change what e.g. LEAST_REQUEST does
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    if cluster.type == xds.cluster.Cluster.ORIGINAL_DST:
        cluster.lb_policy = _LbPolicy.CLUSTER_PROVIDED
        return
    balancer = policy.load_balancer or LoadBalancer()
    if balancer.consistent_hash is not None:
        _apply_hash(cluster, balancer.consistent_hash)
        return
    slow_start = _slow_start(balancer)
    match balancer.simple:
        case SimpleLb.RANDOM:
            cluster.lb_policy = _LbPolicy.RANDOM
        case SimpleLb.PASSTHROUGH:
            cluster.lb_policy = _LbPolicy.CLUSTER_PROVIDED
            cluster.type = xds.cluster.Cluster.ORIGINAL_DST
            cluster.ClearField("load_assignment")
        case SimpleLb.ROUND_ROBIN:
            cluster.lb_policy = _LbPolicy.ROUND_ROBIN
            if slow_start is not None:
                cluster.round_robin_lb_config.slow_start_config.CopyFrom(slow_start)
        case _:
            cluster.lb_policy = _LbPolicy.LEAST_REQUEST
            if slow_start is not None:
                cluster.least_request_lb_config.slow_start_config.CopyFrom(slow_start)


def _slow_start(balancer: LoadBalancer) -> xds.cluster.Cluster.SlowStartConfig | None:
    if balancer.warmup is not None:
        return xds.cluster.Cluster.SlowStartConfig(
            slow_start_window=balancer.warmup.duration,
            # the runtime key is istiod's own
            aggression={"default_value": balancer.warmup.aggression, "runtime_key": "("},
            min_weight_percent={"value": balancer.warmup.minimum_percent},
        )
    if balancer.warmup_duration_secs is not None:
        return xds.cluster.Cluster.SlowStartConfig(slow_start_window=balancer.warmup_duration_secs)
    return None


def _apply_hash(cluster: xds.cluster.Cluster, setting: ConsistentHash) -> None:
    if setting.maglev is not None:
        cluster.lb_policy = _LbPolicy.MAGLEV
        if setting.maglev.table_size:
            cluster.maglev_lb_config.table_size.value = setting.maglev.table_size
        return
    cluster.lb_policy = _LbPolicy.RING_HASH
    size = setting.minimum_ring_size or _DEFAULT_RING_SIZE
    if setting.ring_hash is not None:
        size = setting.ring_hash.minimum_ring_size
    if size:
        cluster.ring_hash_lb_config.minimum_ring_size.value = size
