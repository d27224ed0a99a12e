"""ClusterLoadAssignments: endpoints by locality, with priorities and weights for who asks. Pure.

Follows istiod's `pilot/pkg/xds/endpoints/endpoint_builder.go` and `core/loadbalancer/loadbalancer.go`.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.registry import ISTIO_TLS
from localmesh.compile.view import Locality
from localmesh.config.decode import MAX_UINT32
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
    by_locality: dict[str, xds.endpoint.LocalityLbEndpoints] = {}
    for workload, own_port in service.instances:
        if own_port.name != port.name or not (service.is_dns or is_ip(workload.address)):
            continue
        if wanted <= workload.labels.items():
            mtls = _accepts_mtls(workload, own_port, mesh) if tls is None else tls.mode is TlsMode.ISTIO_MUTUAL
            group = by_locality.get(workload.locality)
            if group is None:
                group = by_locality[workload.locality] = _group(workload.locality)
            _add_endpoint(group, workload, own_port, mesh.cluster_id, mtls=mtls)
    return [group for _, group in sorted(by_locality.items())]


def _accepts_mtls(workload: Workload, port: ServicePort, mesh: Mesh) -> bool:
    """`checkMtlsEnabled`: it can, and no PeerAuthentication turns it off at its port."""
    if workload.tls_mode != ISTIO_TLS:
        return False
    policy = mesh.peers.for_workload(workload.namespace, workload.labels)
    return policy.at(workload.port_of(port)) is not MtlsMode.DISABLE


def _group(text: str) -> xds.endpoint.LocalityLbEndpoints:
    locality = Locality.parse(text)
    return xds.endpoint.LocalityLbEndpoints(
        locality={"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone}
    )


def _add_endpoint(
    group: xds.endpoint.LocalityLbEndpoints, workload: Workload, port: ServicePort, cluster_id: str, *, mtls: bool
) -> None:
    endpoint = group.lb_endpoints.add()
    socket = endpoint.endpoint.address.socket_address
    socket.address, socket.port_value = workload.address, workload.port_of(port)
    metadata = endpoint.metadata.filter_metadata
    metadata["istio"].fields["workload"].string_value = workload.metadata(cluster_id)
    if mtls and workload.tls_mode not in ("", "disabled"):
        metadata["envoy.transport_socket_match"].fields["tlsMode"].string_value = workload.tls_mode
    endpoint.load_balancing_weight.value = workload.weight
    total = group.load_balancing_weight
    total.value = min(total.value + workload.weight, MAX_UINT32)


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


def _matches(locality: Locality | xds.core.Locality, text: str) -> bool:
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
        total = sum(group.load_balancing_weight.value or 1 for group in matched)
        for group in matched:
            weight = (group.load_balancing_weight.value or 1) * share / total
            if weight > 0:
                group.load_balancing_weight.value = ceil(weight)
    for group in rest:
        group.ClearField("lb_endpoints")


def _prioritise(
    endpoints: list[xds.endpoint.LocalityLbEndpoints], mine: Locality, failover: tuple[Failover, ...]
) -> None:
    """`applyLocalityFailover`: nearer is better; the priorities in use are then numbered without gaps."""
    target = next((setting.to for setting in failover if setting.from_ == mine.region), None)
    distances = [_distance(mine, group.locality, target) for group in endpoints]
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
