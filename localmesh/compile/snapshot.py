"""One config, compiled: answers what a node is to be sent. Immutable but for its memory of packed answers.

Used by all streams at once; two that compute one answer at the same time compute the same.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.cluster import ClusterScope, outbound_clusters, standing_clusters
from localmesh.compile.endpoints import apply_locality, locality_endpoints
from localmesh.compile.inbound import inbound_clusters
from localmesh.compile.listener import virtual_inbound
from localmesh.compile.memory import Memory
from localmesh.compile.mesh import Mesh
from localmesh.compile.peer_policy import PeerPolicies
from localmesh.compile.policy import NO_POLICY, Rules
from localmesh.compile.registry import Registry, locality_of, topology_labels
from localmesh.compile.route import RouteScope, VirtualServices, route_configuration, unknown_route_configuration
from localmesh.compile.view import View
from localmesh.config.service_entry import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localmesh.config import Resources

_CLUSTER_NAME_PARTS = 4
KINDS_OF_NODES = 100  # remembered at a time: namespaces and localities of nodes, each with all clusters
ANSWERS = 50_000  # remembered at a time: endpoints and routes
_FAMILIES = {  # addresses that stand for all of their family
    (True, False): (),
    (True, True): ("0.0.0.0", "::"),  # noqa: S104  # nobody listens here
    (False, True): ("::",),
}


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT))


def _sorted(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


class Snapshot:
    def __init__(self, resources: Resources, cluster_id: str = "Kubernetes", domain: str = "cluster.local") -> None:
        self.resources = resources
        self._mesh = Mesh(resources.mesh, cluster_id, PeerPolicies(resources))
        self._domain = domain
        self._registry = Registry(resources, cluster_id)
        self._rules = Rules(resources, domain)
        self._virtual_services = VirtualServices(resources, domain)
        self._clusters: Memory[Mapping[str, xds.protobuf.Any]] = Memory(KINDS_OF_NODES)
        self._packed: Memory[xds.protobuf.Any] = Memory(ANSWERS)

    def view(self, view: View) -> View:
        """Who asks, as far as the registry knows him better: labels and locality of the workload at his address."""
        found = next((target.workload for target in self._registry.targets(view)), None)
        if found is not None:
            return replace(view, labels=_sorted(found.labels), locality=locality_of(found.labels) or view.locality)
        added = topology_labels(view.locality, self._mesh.cluster_id)
        return replace(view, labels=_sorted({**dict(view.labels), **added}))

    def clusters(self, view: View) -> Mapping[str, xds.protobuf.Any]:
        """CDS: every cluster by name; the inbound ones last."""
        # labels choose routes only, and addresses the own ports: nodes that differ in nothing else share
        shared = View(view.namespace, view.locality, addresses=_FAMILIES[view.has_ipv4, view.has_ipv6])

        def outbound() -> Mapping[str, xds.protobuf.Any]:
            clusters = [*self._outbound(shared), *standing_clusters(self.resources.mesh)]
            return {cluster.name: xds.any_of(cluster) for cluster in clusters}

        inbound = inbound_clusters(self._registry.targets(view), self._rules, self._mesh, view)
        own = {cluster.name: xds.any_of(cluster) for cluster in inbound}
        return {**self._clusters.recall(shared, outbound), **own}

    def listeners(self, view: View) -> Mapping[str, xds.protobuf.Any]:
        """LDS: the node's own ports. Outbound there is none: routes are asked for by ``FQDN:port``."""
        listener = virtual_inbound(self._registry.targets(view), self._mesh, view)
        return {listener.name: xds.any_of(listener)}

    def endpoints(self, name: str, view: View) -> xds.protobuf.Any:
        """EDS: the cluster's endpoints; none for a name that is not known, as istiod."""
        shared = View(view.namespace, view.locality)
        return self._packed.recall(("EDS", name, shared), lambda: xds.any_of(self._load_assignment(name, shared)))

    def routes(self, name: str, view: View) -> xds.protobuf.Any:
        """RDS by ``FQDN:port``; no virtual host for a name that is not known, as istiod."""
        shared = View(view.namespace, labels=view.labels)
        return self._packed.recall(("RDS", name, shared), lambda: xds.any_of(self._routes(name, shared)))

    def warm_up(self) -> None:
        """Build one resource of each kind: the first of a kind takes a tenth of a second that no client should wait."""
        view = View("default")
        for cluster in islice(self._outbound(view), 1):
            xds.any_of(cluster)
            _, port, _, host = cluster.name.split("|")
            self.endpoints(cluster.name, view)
            self.routes(f"{host}:{port}", view)

    def _outbound(self, view: View) -> Iterator[xds.cluster.Cluster]:
        for service in self._registry.services(view.namespace):
            rule = self._rules.for_host(service.hostname, service.namespace, view.namespace)
            for port in service.ports:
                scope = ClusterScope(service, port, rule, self._mesh, view)
                yield from outbound_clusters(scope)

    def _routes(self, name: str, view: View) -> xds.route.RouteConfiguration:
        _, colon, port = name.rpartition(":")
        if not (colon and _is_port(port)):
            return unknown_route_configuration(name)
        scope = RouteScope(self._registry, self._rules, view, int(port), self._domain)
        return route_configuration(name, self._virtual_services, scope)

    def _load_assignment(self, name: str, view: View) -> xds.endpoint.ClusterLoadAssignment:
        out = xds.endpoint.ClusterLoadAssignment(cluster_name=name)
        parts = name.split("|")
        if len(parts) != _CLUSTER_NAME_PARTS or parts[0] != "outbound" or not _is_port(parts[1]):
            return out
        _, number, subset, host = parts
        service = self._registry.service(host, view.namespace)
        port = service.port(int(number)) if service else None
        if service is None or port is None or service.is_dns:
            return out
        rule = self._rules.for_host(service.hostname, service.namespace, view.namespace)
        out.endpoints = locality_endpoints(service, port, subset, rule, self._mesh)
        policy = rule.policy_for(port.number, subset) if rule else NO_POLICY
        apply_locality(out.endpoints, policy, view.locality)
        return out
