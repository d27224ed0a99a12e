"""One config, compiled: answers what a node is to be sent. Immutable but for its memory of packed answers.

Used by all streams at once; two that compute one answer at the same time compute the same.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.cluster import ClusterScope, outbound_clusters, standing_clusters
from localmesh.compile.endpoints import apply_locality, locality_endpoints
from localmesh.compile.guards import Guards
from localmesh.compile.inbound import inbound_clusters
from localmesh.compile.listener import virtual_inbound
from localmesh.compile.memory import Memory
from localmesh.compile.mesh import Mesh
from localmesh.compile.oddities import Oddities
from localmesh.compile.peer_policy import PeerPolicies
from localmesh.compile.policy import NO_POLICY, Rules
from localmesh.compile.registry import Registry, locality_of, topology_labels
from localmesh.compile.route import (
    RouteScope,
    VirtualServices,
    port_table,
    route_configuration,
    unknown_route_configuration,
)
from localmesh.compile.view import View
from localmesh.config.service_entry import MAX_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from localmesh.compile.jwt_authn import KeySource
    from localmesh.compile.policy import Rule
    from localmesh.compile.registry import Service
    from localmesh.config import Resources

log = logging.getLogger("proxyless.localmesh")

_CLUSTER_NAME_PARTS = 4
_NO_KEYS: Mapping[KeySource, str] = {}
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


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A service's clusters, and what they were made from besides the mesh and the view."""

    service: Service
    rule: Rule | None
    clusters: Mapping[str, xds.Packed]


@dataclass(frozen=True, slots=True)
class _Assigned:
    """A cluster's endpoints, and what they were made from besides the same."""

    service: Service | None
    rule: Rule | None
    body: xds.Packed


class Snapshot:
    """``before`` is the one that this follows: what is made of the same is taken over from it.

    ``keys``: of token issuers, as far as they were fetched.
    """

    def __init__(
        self,
        resources: Resources,
        cluster_id: str = "Kubernetes",
        domain: str = "cluster.local",
        before: Snapshot | None = None,
        keys: Mapping[KeySource, str] = _NO_KEYS,
    ) -> None:
        self.resources = resources
        if before is not None and not before.is_of_mesh(resources, cluster_id, domain):
            before = None
        self.compiled: Memory[dict[tuple[str, str], _Compiled]] = Memory(KINDS_OF_NODES)
        self.assigned: Memory[_Assigned] = Memory(ANSWERS)
        # not the snapshot that came before: with it all that ever were would be kept
        self._compiled_before = before.compiled if before is not None else Memory(0)
        self._assigned_before = before.assigned if before is not None else Memory(0)
        self._cluster_id, self._domain = cluster_id, domain
        self.registry: Registry = Registry(resources, cluster_id, before.registry if before is not None else None)
        guards = Guards(resources, self.registry, keys)
        self._mesh = Mesh(resources.mesh, cluster_id, PeerPolicies(resources), guards)
        self._rules = Rules(resources, domain)
        self._virtual_services = VirtualServices(resources, domain)
        self._clusters: Memory[Mapping[str, xds.Packed]] = Memory(KINDS_OF_NODES)
        self._packed: Memory[xds.Packed] = Memory(ANSWERS)

    def view(self, view: View) -> View:
        """Who asks, as far as the registry knows him better: labels and locality of the workload at his address."""
        found = next((target.workload for target in self.registry.targets(view)), None)
        if found is not None:
            return replace(view, labels=_sorted(found.labels), locality=locality_of(found.labels) or view.locality)
        added = topology_labels(view.locality, self._mesh.cluster_id)
        return replace(view, labels=_sorted({**dict(view.labels), **added}))

    def clusters(self, view: View) -> Mapping[str, xds.Packed]:
        """CDS: every cluster by name; the inbound ones last."""
        # labels choose routes only, and addresses the own ports: nodes that differ in nothing else share
        shared = View(view.namespace, view.locality, addresses=_FAMILIES[view.has_ipv4, view.has_ipv6])

        def outbound() -> Mapping[str, xds.Packed]:
            compiled = self.compiled.recall(shared, lambda: self._outbound(shared))
            standing = {cluster.name: xds.packed(cluster) for cluster in standing_clusters(self.resources.mesh)}
            return {name: body for one in compiled.values() for name, body in one.clusters.items()} | standing

        inbound = inbound_clusters(self.registry.targets(view), self._rules, self._mesh, view)
        own = {cluster.name: xds.packed(cluster) for cluster in inbound}
        return {**self._clusters.recall(shared, outbound), **own}

    def listeners(self, view: View) -> Mapping[str, xds.Packed]:
        """LDS: the node's own ports. Outbound there is none: routes are asked for by ``FQDN:port``."""
        listener = virtual_inbound(self.registry.targets(view), self._mesh, view)
        return {listener.name: xds.packed(listener)}

    def endpoints(self, name: str, view: View) -> xds.Packed:
        """EDS: the cluster's endpoints; none for a name that is not known, as istiod."""
        shared = View(view.namespace, view.locality)
        return self.assigned.recall((name, shared), lambda: self._load_assignment(name, shared)).body

    def routes(self, name: str, view: View) -> xds.Packed:
        """RDS by ``FQDN:port``; no virtual host for a name that is not known, as istiod."""
        shared = View(view.namespace, labels=view.labels)
        return self._packed.recall((name, shared), lambda: xds.packed(self._routes(name, shared)))

    def oddities(self) -> Iterator[str]:
        """What in the resources will not do what its author expects."""
        return iter(Oddities(self.resources, self.registry, self._rules, self._domain))

    def warm_up(self) -> None:
        """Build one resource of each kind: the first of a kind takes a tenth of a second that no client should wait."""
        view = View("default")
        for service in islice(self.registry.services(view.namespace), 1):
            with suppress(Exception):  # whoever asks for it is told
                self._warm_up(service, view)

    def _warm_up(self, service: Service, view: View) -> None:
        for name in self._service_clusters(service, view).clusters:
            _, port, _, host = name.split("|")
            self.endpoints(name, view)
            self.routes(f"{host}:{port}", view)

    def is_of_mesh(self, resources: Resources, cluster_id: str, domain: str) -> bool:
        """Whether what holds for all services, whatever their own resources say, is the same."""
        now = (self.resources.mesh, self.resources.peer_authentications, self._cluster_id, self._domain)
        return now == (resources.mesh, resources.peer_authentications, cluster_id, domain)

    def _outbound(self, view: View) -> dict[tuple[str, str], _Compiled]:
        before = self._compiled_before.known(view) or {}
        found = {}
        for service in self.registry.services(view.namespace):
            key = (service.hostname, service.namespace)
            try:
                found[key] = self._service_clusters(service, view, before.get(key))
            except Exception:  # a fault of the compiler's takes nobody's service but this one
                log.exception("%s: no cluster could be made of it: it is left out", service.hostname)
        return found

    def _service_clusters(self, service: Service, view: View, before: _Compiled | None = None) -> _Compiled:
        rule = self._rules.for_host(service.hostname, service.namespace, view.namespace)
        if before is not None and (before.service, before.rule) == (service, rule):
            return before
        clusters = (
            cluster
            for port in service.ports
            for cluster in outbound_clusters(ClusterScope(service, port, rule, self._mesh, view))
        )
        return _Compiled(service, rule, {cluster.name: xds.packed(cluster) for cluster in clusters})

    def _routes(self, name: str, view: View) -> xds.route.RouteConfiguration:
        _, colon, port = name.rpartition(":")
        if not _is_port(port):
            return unknown_route_configuration(name)
        scope = RouteScope(self.registry, self._rules, view, int(port), self._domain)
        if not colon:
            return port_table(name, self._virtual_services, scope, self.resources.mesh.outbound_traffic_policy.mode)
        return route_configuration(name, self._virtual_services, scope)

    def _load_assignment(self, name: str, view: View) -> _Assigned:
        out = xds.endpoint.ClusterLoadAssignment(cluster_name=name)
        parts = name.split("|")
        if len(parts) != _CLUSTER_NAME_PARTS or parts[0] != "outbound" or not _is_port(parts[1]):
            return _Assigned(None, None, xds.packed(out))
        _, number, subset, host = parts
        service = self.registry.service(host, view.namespace)
        port = service.port(int(number)) if service else None
        if service is None or port is None or service.is_dns:
            return _Assigned(service, None, xds.packed(out))
        rule = self._rules.for_host(service.hostname, service.namespace, view.namespace)
        before = self._assigned_before.known((name, view))
        if before is not None and (before.service, before.rule) == (service, rule):
            return before
        endpoints = locality_endpoints(service, port, subset, rule, self._mesh)
        policy = rule.policy_for(port.number, subset) if rule else NO_POLICY
        apply_locality(endpoints, policy, view.locality)
        out.endpoints.extend(endpoints)
        return _Assigned(service, rule, xds.packed(out))
