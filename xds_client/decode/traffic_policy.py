"""How a cluster wants to be called (envoy/config/cluster/v3, envoy/config/core/v3): one table for each message."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2, outlier_detection_pb2  # type: ignore[import-untyped]
from envoy.config.core.v3 import address_pb2, health_check_pb2, protocol_pb2  # type: ignore[import-untyped]
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.extensions import as_it_came, known_extension, named_extension
from xds_client.decode.filters import connection_filter
from xds_client.decode.route_action import OLD
from xds_client.decode.shape import Shape, Whole, enum_name

_cds = cluster_pb2.Cluster
_ENVOYS_OWN = "it chooses among Envoy's own parts"

slow_start = Shape(m.SlowStart, _cds.SlowStartConfig)
round_robin = Shape(m.RoundRobin, _cds.RoundRobinLbConfig)
least_request = Shape(m.LeastRequest, _cds.LeastRequestLbConfig)
ring_hash = Shape(m.RingHash, _cds.RingHashLbConfig)
maglev = Shape(m.Maglev, _cds.MaglevLbConfig)
original_dst = Shape(
    m.OriginalDst,
    _cds.OriginalDstLbConfig,
    by={"metadata_key": lambda said: (said.key, *(segment.key for segment in said.path))},
)
zone_aware = Shape(m.ZoneAware, _cds.CommonLbConfig.ZoneAwareLbConfig)
_health = enum_name(health_check_pb2.HealthStatusSet.DESCRIPTOR.fields_by_name["statuses"].enum_type)
_hashing = ("consistent_hashing_lb_config",)


def _balance_factor(message: Any) -> int | None:
    said = message.consistent_hashing_lb_config
    return said.hash_balance_factor.value if said.HasField("hash_balance_factor") else None


common_balancing = Shape(
    m.CommonBalancing,
    _cds.CommonLbConfig,
    by={
        "locality_weighted_lb_config": lambda _: True,
        "override_host_status": lambda said: tuple(map(_health, said.statuses)),
    },
    wholes={
        "use_hostname_for_hashing": Whole(
            _hashing, lambda said: said.consistent_hashing_lb_config.use_hostname_for_hashing
        ),
        "hash_balance_factor": Whole(_hashing, _balance_factor),
    },
)
subset_selector = Shape(m.SubsetSelector, _cds.LbSubsetConfig.LbSubsetSelector)
subsets = Shape(m.Subsets, _cds.LbSubsetConfig)
outlier_detection = Shape(m.OutlierDetection, outlier_detection_pb2.OutlierDetection)
retry_budget = Shape(m.RetryBudget, circuit_breaker_pb2.CircuitBreakers.Thresholds.RetryBudget)
thresholds = Shape(m.Thresholds, circuit_breaker_pb2.CircuitBreakers.Thresholds)
circuit_breakers = Shape(m.CircuitBreakers, circuit_breaker_pb2.CircuitBreakers)
tcp_keepalive = Shape(m.TcpKeepalive, address_pb2.TcpKeepalive)
upstream_connection = Shape(
    m.UpstreamConnection, cluster_pb2.UpstreamConnectionOptions, by={"happy_eyeballs_config": as_it_came}
)
http_common = Shape(m.HttpCommon, protocol_pb2.HttpProtocolOptions)
http2_keepalive = Shape(m.Http2Keepalive, protocol_pb2.KeepaliveSettings)
http2 = Shape(
    m.Http2,
    protocol_pb2.Http2ProtocolOptions,
    not_kept={
        "custom_settings_parameters": "they are no settings that a peer here would know",
        "use_oghttp2_codec": _ENVOYS_OWN,
    },
)
refresh_rate = Shape(m.RefreshRate, _cds.RefreshRate)
preconnect = Shape(m.Preconnect, _cds.PreconnectPolicy)

_PROTOCOLS = ("explicit_http_config", "use_downstream_protocol_config", "auto_config")
_OF_TLS = ("auto_sni", "auto_san_validation", "override_auto_sni_header")


def _http2(message: Any) -> m.Http2 | None:
    kind = message.WhichOneof("upstream_protocol_options")
    said = None if kind is None else getattr(message, kind)
    return http2(said.http2_protocol_options) if said is not None and said.HasField("http2_protocol_options") else None


def _of_tls(name: str) -> Whole:
    field = "upstream_http_protocol_options"
    return Whole((field,), lambda message: getattr(message.upstream_http_protocol_options, name))


upstream_http = Shape(
    m.UpstreamHttp,
    http_protocol_options_pb2.HttpProtocolOptions,
    by={"http_filters": connection_filter, "outlier_detection": as_it_came},
    wholes={
        "protocol": Whole(_PROTOCOLS, lambda message: message.WhichOneof("upstream_protocol_options") or ""),
        "http2_protocol_options": Whole(_PROTOCOLS, _http2),
        **{name: _of_tls(name) for name in _OF_TLS},
    },
)
known_extension(http_protocol_options_pb2.HttpProtocolOptions, upstream_http)


def _policies(message: Any) -> tuple[m.Extension, ...]:
    return tuple(named_extension(policy.typed_extension_config) for policy in message.policies)


cluster_terms = Shape(
    m.ClusterTerms,
    _cds,
    by={
        "health_checks": as_it_came,
        "upstream_bind_config": as_it_came,
        "filters": named_extension,
        "load_balancing_policy": _policies,
        "lrs_server": as_it_came,
        "transport_socket_matcher": as_it_came,
    },
    by_hand=frozenset(
        {
            "name",
            "type",
            "eds_cluster_config",
            "connect_timeout",
            "lb_policy",
            "load_assignment",
            "transport_socket",
            "transport_socket_matches",
            "upstream_http_protocol_options",
            "metadata",
        }
    ),
    not_kept={
        "alt_stat_name": "it says how Envoy's statistics call the cluster",
        "cluster_type": "a cluster that says so is refused",
        "http_protocol_options": "gRPC is not spoken over HTTP/1.1",
        "dns_resolvers": OLD,
        "dns_resolution_config": OLD,
        "track_cluster_stats": "it says which of Envoy's own statistics are kept",
    },
)
