"""ClusterLoadAssignments: endpoints by locality, with priorities and weights for who asks. Pure.

Follows istiod's `pilot/pkg/xds/endpoints/endpoint_builder.go` and `core/loadbalancer/loadbalancer.go`.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.registry import ISTIO_TLS
from localmesh.compile.view import Locality
from localmesh.config.destination_rule import LocalityLb, TlsMode
from localmesh.config.peer_authentication import MtlsMode
from localmesh.config.service_entry import is_ip

if TYPE_CHECKING:
    from localmesh.compile.mesh import Mesh
    from localmesh.compile.policy import Rule
    from localmesh.compile.registry import Service, Workload
    from localmesh.config.destination_rule import Distribute, Failover, TrafficPolicy
    from localmesh.config.service_entry import ServicePort

MESH_LOCALITY_LB = LocalityLb()  # MeshConfig's default: on, nothing distributed, no failover listed
_NOT_MY_REGION = 3
_NOT_WHERE_TO_FAIL_OVER = 4


def locality_endpoints(
    service: Service, port: ServicePort, subset: str, rule: Rule | None, mesh: Mesh
) -> list[xds.endpoint.LocalityLbEndpoints]:
    """The subset's endpoints by locality, localities in alphabetical order, each as heavy as its endpoints."""
    chosen = rule.subset(subset) if rule else None
    wanted = chosen.labels.items() if chosen else {}.items()
    tls = rule.tls_for(port.number, subset) if rule else None
    by_locality: dict[str, list[xds.endpoint.LbEndpoint]] = {}
    for workload, own_port in service.instances:
        if own_port.name != port.name or not (service.is_dns or is_ip(workload.address)):
            continue
        if wanted <= workload.labels.items():
            mtls = _accepts_mtls(workload, own_port, mesh) if tls is None else tls.mode is TlsMode.ISTIO_MUTUAL
            endpoint = _lb_endpoint(workload, own_port, mesh.cluster_id, mtls=mtls)
            by_locality.setdefault(workload.locality, []).append(endpoint)
    return [
        xds.endpoint.LocalityLbEndpoints(
            locality=_core_locality(locality),
            lb_endpoints=endpoints,
            load_balancing_weight=sum(endpoint.load_balancing_weight or 0 for endpoint in endpoints),
        )
        for locality, endpoints in sorted(by_locality.items())
    ]


def _accepts_mtls(workload: Workload, port: ServicePort, mesh: Mesh) -> bool:
    """`checkMtlsEnabled`: it can, and no PeerAuthentication turns it off at its port."""
    if workload.tls_mode != ISTIO_TLS:
        return False
    policy = mesh.peers.for_workload(workload.namespace, workload.labels)
    return policy.at(workload.port_of(port)) is not MtlsMode.DISABLE


def _core_locality(text: str) -> xds.core.Locality:
    locality = Locality.parse(text)
    return xds.core.Locality(region=locality.region, zone=locality.zone, sub_zone=locality.sub_zone)


def _lb_endpoint(workload: Workload, port: ServicePort, cluster_id: str, *, mtls: bool) -> xds.endpoint.LbEndpoint:
    metadata = xds.istio_metadata({"workload": workload.metadata(cluster_id)})
    if mtls and workload.tls_mode not in ("", "disabled"):
        metadata.filter_metadata["envoy.transport_socket_match"] = xds.struct({"tlsMode": workload.tls_mode})
    socket = xds.core.SocketAddress(address=workload.address, port_value=workload.port_of(port))
    return xds.endpoint.LbEndpoint(
        endpoint=xds.endpoint.Endpoint(address=xds.core.Address(socket_address=socket)),
        metadata=metadata,
        load_balancing_weight=workload.weight,
    )


def locality_setting(policy: TrafficPolicy) -> LocalityLb | None:
    """The locality load balancing in effect; None where the DestinationRule turns it off."""
    setting = policy.load_balancer.locality_lb_setting if policy.load_balancer else None
    setting = setting or MESH_LOCALITY_LB
    return setting if setting.enabled else None


def apply_locality(
    endpoints: list[xds.endpoint.LocalityLbEndpoints], policy: TrafficPolicy, locality: Locality
) -> None:
    """Weights by ``distribute``, else priorities, which need outlierDetection: without it nobody would fail over."""
    setting = locality_setting(policy)
    if setting is None:
        return
    if setting.distribute:
        _distribute(endpoints, locality, setting.distribute)
    elif policy.outlier_detection is not None:
        _prioritise(endpoints, locality, setting.failover)


def _matches(locality: Locality | xds.core.Locality | None, text: str) -> bool:
    if locality is None:
        return False
    rule = Locality.parse(text)
    return (
        rule.region in ("*", locality.region)
        and rule.zone in ("*", "", locality.zone)
        and rule.sub_zone in ("*", "", locality.sub_zone)
    )


def _distribute(
    endpoints: list[xds.endpoint.LocalityLbEndpoints], locality: Locality, distribute: tuple[Distribute, ...]
) -> None:
    """`applyLocalityWeights`: a target's share is divided among the localities that it matches, by their weight."""
    setting = next((setting for setting in distribute if _matches(locality, setting.from_)), None)
    if setting is None:
        return
    rest = list(endpoints)
    for target, share in setting.to.items():
        matched = [group for group in rest if _matches(group.locality, target)]
        rest = [group for group in rest if not _matches(group.locality, target)]
        total = sum(group.load_balancing_weight or 1 for group in matched)
        for group in matched:
            weight = (group.load_balancing_weight or 1) * share / total
            if weight > 0:
                group.load_balancing_weight = ceil(weight)
    for group in rest:
        group.lb_endpoints = []


def _prioritise(
    endpoints: list[xds.endpoint.LocalityLbEndpoints], mine: Locality, failover: tuple[Failover, ...]
) -> None:
    """`applyLocalityFailover`: nearer is better; the priorities in use are then numbered without gaps."""
    target = next((setting.to for setting in failover if setting.from_ == mine.region), None)
    distances = [_distance(mine, group.locality or xds.core.Locality(), target) for group in endpoints]
    ranks = {distance: rank for rank, distance in enumerate(sorted(set(distances)))}
    for group, distance in zip(endpoints, distances, strict=True):
        group.priority = ranks[distance]


def _distance(mine: Locality, theirs: xds.core.Locality, failover_target: str | None) -> int:
    if theirs.region != mine.region:
        listed = failover_target is None or theirs.region == failover_target
        return _NOT_MY_REGION if listed else _NOT_WHERE_TO_FAIL_OVER
    if theirs.zone != mine.zone:
        return 2
    return 0 if theirs.sub_zone == mine.sub_zone else 1
