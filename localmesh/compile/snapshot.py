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
from localmesh.compile.policy import NO_POLICY, Rules
from localmesh.compile.registry import Registry
from localmesh.compile.route import RouteScope, VirtualServices, route_configuration, unknown_route_configuration
from localmesh.compile.view import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localmesh.config import Resources

_CLUSTER_NAME_PARTS = 4


class Snapshot:
    def __init__(self, resources: Resources, cluster_id: str = "Kubernetes", domain: str = "cluster.local") -> None:
        self.resources = resources
        self._cluster_id = cluster_id
        self._domain = domain
        self._registry = Registry(resources, cluster_id)
        self._rules = Rules(resources, domain)
        self._virtual_services = VirtualServices(resources, domain)
        self._clusters: dict[View, Mapping[str, xds.protobuf.Any]] = {}
        self._packed: dict[tuple[str, str, View], xds.protobuf.Any] = {}

    def clusters(self, view: View) -> Mapping[str, xds.protobuf.Any]:
        """CDS: every cluster by name."""
        view = replace(view, labels=())  # labels choose routes only: nodes that differ in nothing else share
        if view not in self._clusters:
            clusters = [*self._outbound(view), *standing_clusters(self.resources.mesh)]
            self._clusters[view] = {cluster.name: xds.any_of(cluster) for cluster in clusters}
        return self._clusters[view]

    def endpoints(self, name: str, view: View) -> xds.protobuf.Any:
        """EDS: the cluster's endpoints; none for a name that is not known, as istiod."""
        view = View(view.namespace, view.locality)
        key = ("EDS", name, view)
        if key not in self._packed:
            self._packed[key] = xds.any_of(self._load_assignment(name, view))
        return self._packed[key]

    def routes(self, name: str, view: View) -> xds.protobuf.Any:
        """RDS by ``FQDN:port``; no virtual host for a name that is not known, as istiod."""
        view = View(view.namespace, labels=view.labels)
        key = ("RDS", name, view)
        if key not in self._packed:
            _, colon, port = name.rpartition(":")
            if colon and port.isascii() and port.isdigit():
                scope = RouteScope(self._registry, self._rules, view, int(port), self._domain)
                answer = route_configuration(name, self._virtual_services, scope)
            else:
                answer = unknown_route_configuration(name)
            self._packed[key] = xds.any_of(answer)
        return self._packed[key]

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
                scope = ClusterScope(service, port, rule, self.resources.mesh, view, self._cluster_id)
                yield from outbound_clusters(scope)

    def _load_assignment(self, name: str, view: View) -> xds.endpoint.ClusterLoadAssignment:
        out = xds.endpoint.ClusterLoadAssignment(cluster_name=name)
        parts = name.split("|")
        if len(parts) != _CLUSTER_NAME_PARTS or parts[0] != "outbound" or not parts[1].isdecimal():
            return out
        _, number, subset, host = parts
        service = self._registry.service(host, view.namespace)
        port = service.port(int(number)) if service else None
        if service is None or port is None or service.is_dns:
            return out
        rule = self._rules.for_host(service.hostname, service.namespace, view.namespace)
        out.endpoints = locality_endpoints(service, port, subset, rule, self._cluster_id)
        policy = rule.policy_for(port.number, subset) if rule else NO_POLICY
        apply_locality(out.endpoints, policy, view.locality)
        return out
