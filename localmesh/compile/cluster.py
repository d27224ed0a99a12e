"""Outbound clusters of one service port, default and subsets. Pure.

Follows istiod's `pilot/pkg/networking/core/cluster_builder.go`; the order of the steps is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.endpoints import apply_locality, locality_endpoints
from localmesh.compile.http_options import NAME, http_protocol_options, speaks_http2
from localmesh.compile.load_balancing import apply_connection_pool, apply_load_balancer, apply_outlier_detection
from localmesh.compile.policy import NO_POLICY
from localmesh.compile.registry import is_udp
from localmesh.compile.tls import auto_mtls_matches, upstream_socket
from localmesh.config.destination_rule import ClientTls, ConnectionPool, SimpleLb, TlsMode
from localmesh.config.peer_authentication import MtlsMode
from localmesh.config.service_entry import ServiceEntryResolution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmesh.compile.mesh import Mesh
    from localmesh.compile.policy import Rule
    from localmesh.compile.registry import Service
    from localmesh.compile.view import View
    from localmesh.config import MeshConfig
    from localmesh.config.destination_rule import TrafficPolicy
    from localmesh.config.service_entry import ServicePort

_Type = xds.cluster.Cluster.DiscoveryType
_TYPES = {
    ServiceEntryResolution.STATIC: _Type.EDS,
    ServiceEntryResolution.DNS: _Type.STRICT_DNS,
    ServiceEntryResolution.DNS_ROUND_ROBIN: _Type.LOGICAL_DNS,
    ServiceEntryResolution.NONE: _Type.ORIGINAL_DST,
}
_EDS = xds.cluster.Cluster.EdsClusterConfig(
    eds_config={"ads": {}, "initial_fetch_timeout": timedelta(0), "resource_api_version": xds.core.ApiVersion.V3}
)
_DNS_JITTER = timedelta(milliseconds=100)
_DNS_UDP_QUERIES = 100


def cluster_name(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


@dataclass(frozen=True, slots=True)
class ClusterScope:
    """What the clusters of one service port are made from."""

    service: Service
    port: ServicePort
    rule: Rule | None
    mesh: Mesh
    view: View


def outbound_clusters(scope: ClusterScope) -> Iterator[xds.cluster.Cluster]:
    if is_udp(scope.port):
        return
    names = ["", *(subset.name for subset in scope.rule.subsets)] if scope.rule else [""]
    for subset in names:
        cluster = _cluster(scope, subset)
        if cluster is not None:
            yield cluster


def standing_clusters(mesh: MeshConfig) -> Iterator[xds.cluster.Cluster]:
    """The two that every sidecar gets; nothing on-demand routes to them."""
    yield xds.cluster.Cluster(
        name="BlackHoleCluster",
        alt_stat_name="BlackHoleCluster;",
        type=_Type.STATIC,
        connect_timeout=mesh.connect_timeout,
    )
    yield passthrough_cluster("PassthroughCluster", mesh)


def passthrough_cluster(name: str, mesh: MeshConfig) -> xds.cluster.Cluster:
    """Sends to where the connection was going; inbound it has the outbound one's statistics, as in istiod."""
    passthrough = xds.cluster.Cluster(name=name, alt_stat_name="PassthroughCluster;", type=_Type.ORIGINAL_DST)
    passthrough.lb_policy = xds.cluster.Cluster.CLUSTER_PROVIDED
    apply_connection_pool(passthrough, ConnectionPool(), mesh.connect_timeout)
    options = xds.http.HttpProtocolOptions(
        common_http_protocol_options={"idle_timeout": timedelta(minutes=5)},
        use_downstream_protocol_config={"http_protocol_options": {}, "http2_protocol_options": {}},
    )
    passthrough.typed_extension_protocol_options[NAME].CopyFrom(xds.any_of(options))
    return passthrough


def _cluster(scope: ClusterScope, subset: str) -> xds.cluster.Cluster | None:
    """None for a DNS cluster without endpoints, as istiod."""
    service, port = scope.service, scope.port
    name = cluster_name(port.number, subset, service.hostname)
    policy = scope.rule.policy_for(port.number, subset) if scope.rule else NO_POLICY
    pool = policy.connection_pool or ConnectionPool()
    cluster = xds.cluster.Cluster(
        name=name,
        alt_stat_name=f"{name};",
        type=_TYPES[service.resolution],
        common_lb_config={"healthy_panic_threshold": {}},
    )
    if service.is_dns and not _resolve_by_dns(cluster, scope, subset, policy):
        return None
    if service.resolution is ServiceEntryResolution.NONE and port.target_port:
        cluster.original_dst_lb_config.upstream_port_override.value = port.target_port
    apply_connection_pool(cluster, pool, scope.mesh.config.connect_timeout)
    if policy.outlier_detection is not None:
        apply_outlier_detection(cluster, policy.outlier_detection)
    apply_load_balancer(cluster, policy)
    tls = _apply_tls(cluster, scope, policy, subset)
    if cluster.type == _Type.EDS:
        cluster.eds_cluster_config.CopyFrom(_EDS)
        cluster.eds_cluster_config.service_name = name
    options = http_protocol_options(port, pool, tls)
    if options is not None:
        cluster.typed_extension_protocol_options[NAME].CopyFrom(xds.any_of(options))
    cluster.metadata.CopyFrom(_metadata(scope, subset, tls))
    return cluster


def _resolve_by_dns(cluster: xds.cluster.Cluster, scope: ClusterScope, subset: str, policy: TrafficPolicy) -> bool:
    endpoints = locality_endpoints(scope.service, scope.port, subset, scope.rule, scope.mesh)
    apply_locality(endpoints, policy, scope.view.locality)
    cluster.load_assignment.cluster_name = cluster.name
    cluster.load_assignment.endpoints.extend(endpoints)
    family = xds.cluster.Cluster.DnsLookupFamily
    cluster.dns_lookup_family = family.V4_ONLY if scope.view.has_ipv4 else family.V6_ONLY
    # deprecated by Envoy, and what istiod sends
    cluster.dns_refresh_rate.FromTimedelta(scope.mesh.config.dns_refresh_rate)
    cluster.dns_jitter.FromTimedelta(_DNS_JITTER)
    cluster.respect_dns_ttl = True
    resolver = xds.cares.CaresDnsResolverConfig(udp_max_queries={"value": _DNS_UDP_QUERIES})
    cluster.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    cluster.typed_dns_resolver_config.typed_config.CopyFrom(xds.any_of(resolver))
    return bool(endpoints)


def _apply_tls(
    cluster: xds.cluster.Cluster, scope: ClusterScope, policy: TrafficPolicy, subset: str
) -> ClientTls | None:
    """The explicit mode, or auto-mTLS; returns the explicit one."""
    service = scope.service
    sni = f"outbound_.{scope.port.number}_.{subset}_.{service.hostname}"
    http2 = speaks_http2(scope.port, policy.connection_pool or ConnectionPool())
    if policy.tls is not None:
        explicit = upstream_socket(policy.tls, sni, service.subject_alt_names, http2=http2)
        if explicit is not None:
            cluster.transport_socket.CopyFrom(explicit)
    elif scope.mesh.config.enable_auto_mtls and not service.mesh_external and _accepts_mtls(scope, subset):
        mutual = ClientTls(TlsMode.ISTIO_MUTUAL)
        socket = upstream_socket(mutual, sni, service.subject_alt_names, http2=http2)
        assert socket is not None
        if cluster.type == _Type.ORIGINAL_DST:
            cluster.transport_socket.CopyFrom(socket)
        else:
            cluster.transport_socket_matches.extend(auto_mtls_matches(socket))
    return policy.tls


def _accepts_mtls(scope: ClusterScope, subset: str) -> bool:
    """Whether the service is expected to (BestEffortInferServiceMTLSMode); each endpoint then has its own word."""
    if _hides_its_workloads(scope, subset):
        return False
    return scope.mesh.peers.for_namespace(scope.service.namespace) is not MtlsMode.DISABLE


def _hides_its_workloads(scope: ClusterScope, subset: str) -> bool:
    """Passthrough cannot tell endpoints apart: mTLS only if all of them have it.

    istiod looks for PASSTHROUGH in the policy as it is written: not inherited by the subset, not of the port.
    """
    chosen = scope.rule.subset(subset) if scope.rule and subset else None
    written = chosen.traffic_policy if chosen else scope.rule.policy if scope.rule and not subset else None
    balancer = written.load_balancer if written else None
    passthrough = balancer is not None and balancer.simple is SimpleLb.PASSTHROUGH
    if scope.service.resolution is not ServiceEntryResolution.NONE and not passthrough:
        return False
    workloads = scope.service.workloads
    return not workloads or any(workload.tls_mode in ("", "disabled") for workload in workloads)


def _metadata(scope: ClusterScope, subset: str, tls: ClientTls | None) -> xds.core.Metadata:
    service = scope.service
    named = {"name": service.hostname, "namespace": service.namespace, "host": service.hostname}
    fields: dict[str, xds.JsonScalar | list[dict[str, xds.JsonScalar]]] = {"services": [{**named}]}
    if scope.rule is not None:
        fields["config"] = scope.rule.config
    if subset:
        fields["subset"] = subset
    elif service.mesh_external:
        fields["external"] = True
    if tls is not None and tls.originates:
        fields["alpn_override"] = "false"
    return xds.istio_metadata(fields)
