"""Services and their workload endpoints, from ServiceEntry and WorkloadEntry. Frozen values, made once per config.

Follows istiod's `pilot/pkg/serviceregistry/serviceentry/conversion.go`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from localmesh.compile.view import Locality
from localmesh.config.service_entry import (
    Location,
    Protocol,
    ServiceEntry,
    ServiceEntryResolution,
    ServicePort,
    WorkloadEntry,
    is_ip,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from localmesh.compile.view import View
    from localmesh.config import Resource, Resources

TLS_MODE_LABEL = "security.istio.io/tlsMode"
ISTIO_TLS = "istio"
_LOCALITY_LABEL = "istio-locality"
_TOPOLOGY_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone")
_CANONICAL_NAME_LABELS = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_CANONICAL_REVISION_LABELS = ("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version")


@dataclass(frozen=True, slots=True)
class Workload:
    """One WorkloadEntry (or inline endpoint), whatever service selects it."""

    name: str
    namespace: str
    address: str
    labels: Mapping[str, str]
    locality: str
    weight: int
    tls_mode: str
    service_account: str  # SPIFFE URI, or empty
    ports: Mapping[str, int]

    def port_of(self, port: ServicePort) -> int:
        """The workload's own port by name, else the service's target port, else its number."""
        return self.ports.get(port.target_name or port.name) or port.target_port or port.number

    def has(self, port: ServicePort) -> bool:
        return not port.target_name or port.target_name in self.ports

    def metadata(self, cluster_id: str) -> str:
        """istio.workload: name;namespace;canonical service;canonical revision;cluster."""
        service = next((self.labels[key] for key in _CANONICAL_NAME_LABELS if self.labels.get(key)), self.name)
        revision = next((self.labels[key] for key in _CANONICAL_REVISION_LABELS if self.labels.get(key)), "")
        return ";".join((self.name, self.namespace, service, "" if revision == "latest" else revision, cluster_id))


@dataclass(frozen=True, slots=True)
class Service:
    hostname: str
    namespace: str
    ports: tuple[ServicePort, ...]
    resolution: ServiceEntryResolution
    mesh_external: bool
    subject_alt_names: tuple[str, ...]  # the entry's own and its workloads' service accounts, sorted
    instances: tuple[tuple[Workload, ServicePort], ...]  # the port is that of the entry that selected the workload
    headless: bool  # a Service of Kubernetes: its pods are called by names below its own

    @property
    def workloads(self) -> list[Workload]:
        return [workload for workload, _ in self.instances]

    @property
    def is_dns(self) -> bool:
        return self.resolution in (ServiceEntryResolution.DNS, ServiceEntryResolution.DNS_ROUND_ROBIN)

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True, slots=True)
class _Made:
    entry: Resource[ServiceEntry]
    services: tuple[Service, ...]


class Registry:
    """All services, by the host that they answer to."""

    def __init__(self, resources: Resources, cluster_id: str, before: Registry | None = None) -> None:
        """``before``: the last one, of the same mesh: services whose entries are the same are its own."""
        self._cluster_id = cluster_id
        self._trust_domain = resources.mesh.trust_domain
        self._aliases = resources.mesh.trust_domain_aliases
        self._by_host: dict[str, dict[str, Service]] = {}
        self._workload_entries = resources.workload_entries
        self._made: dict[int, _Made] = {}  # by the entry's id; it is kept with them, so the id is nobody else's
        workloads = [self._workload(entry.name, entry) for entry in resources.workload_entries]
        # whose host it is, in whatever namespace somebody takes it by a ServiceEntry (`appendSidecarServices`)
        made_of_services = (entry.spec for entry in resources.service_entries if entry.spec.of_kubernetes)
        of_kubernetes = {host.lower() for spec in made_of_services for host in spec.hosts}
        for entry in resources.service_entries:
            made = before.services_of(entry, resources.workload_entries) if before is not None else None
            if made is None:
                hosts = dict.fromkeys(entry.spec.hosts)
                made = _Made(entry, tuple(self._service(host.lower(), entry, workloads) for host in hosts))
            self._made[id(entry)] = made
            for service in made.services:
                if service.hostname in of_kubernetes and not entry.spec.of_kubernetes:
                    continue
                namespaces = self._by_host.setdefault(service.hostname, {})
                first = namespaces.get(service.namespace)
                namespaces[service.namespace] = _merged(first, service) if first else service
        self._by_address = self._index()

    def services_of(self, entry: Resource[ServiceEntry], workloads: Sequence[Resource[WorkloadEntry]]) -> _Made | None:
        """What was made of the entry, if it would be made of it again."""
        made = self._made.get(id(entry))
        if made is not None and entry.spec.workload_selector is not None and workloads != self._workload_entries:
            return None
        return made

    def service(self, hostname: str, namespace: str) -> Service | None:
        """The service that a client in the namespace means: its own first, else the first one there is."""
        found = self._by_host.get(hostname.lower(), {})
        return found.get(namespace) or next(iter(found.values()), None)

    def namespaces_of(self, hostname: str) -> Collection[str]:
        """Where there is a service of exactly this name."""
        return self._by_host.get(hostname, {}).keys()

    def services(self, namespace: str) -> Iterator[Service]:
        for hostname in sorted(self._by_host):
            service = self.service(hostname, namespace)
            if service is not None:
                yield service

    def targets(self, view: View) -> list[Target]:
        """What services of its namespace lead to the node: by host name, and by the order of its addresses."""
        found = [
            target
            for address in view.addresses
            for target in self._by_address.get(address, ())
            if target.service.namespace == view.namespace
        ]
        return sorted(found, key=lambda target: target.service.hostname)

    def _index(self) -> dict[str, list[Target]]:
        by_address: dict[str, list[Target]] = {}
        for hostname in sorted(self._by_host):
            for service in self._by_host[hostname].values():
                for workload, port in service.instances:
                    by_address.setdefault(workload.address, []).append(Target(service, port, workload))
        return by_address

    def _service(self, host: str, entry: Resource[ServiceEntry], workloads: list[Workload]) -> Service:
        spec = entry.spec
        chosen = list(self._workloads(host, entry, workloads))
        # one service for each address, in istiod: each brings the workloads along, once more
        times = max(1, len(spec.addresses))
        accounts = {workload.service_account for workload in chosen} - {""}
        return Service(
            hostname=host,
            namespace=entry.namespace,
            ports=spec.ports,
            resolution=spec.resolution,
            mesh_external=spec.location is Location.MESH_EXTERNAL,
            subject_alt_names=tuple(
                sorted(
                    name
                    for account in accounts | set(spec.subject_alt_names)
                    for name in _with_aliases(account, self._aliases)
                )
            ),
            instances=tuple((workload, port) for workload in chosen for port in spec.ports if workload.has(port))
            * times,
            headless=spec.headless,
        )

    def _workloads(self, host: str, entry: Resource[ServiceEntry], workloads: list[Workload]) -> Iterator[Workload]:
        spec = entry.spec
        is_dns = spec.resolution in (ServiceEntryResolution.DNS, ServiceEntryResolution.DNS_ROUND_ROBIN)
        if spec.workload_selector is not None:
            wanted = spec.workload_selector.labels.items()
            for workload in workloads:
                usable = is_dns or is_ip(workload.address)
                if usable and workload.namespace == entry.namespace and wanted <= workload.labels.items():
                    yield workload
        elif spec.endpoints:
            for index, endpoint in enumerate(spec.endpoints):
                yield self._make(f"{entry.name}-{index}", entry.namespace, endpoint, endpoint.labels)
        elif is_dns:
            yield Workload(entry.name, entry.namespace, host, {}, "", 1, "", "", {})

    def _workload(self, name: str, entry: Resource[WorkloadEntry]) -> Workload:
        # labels of the metadata win over labels of the spec (ConvertWorkloadEntry)
        return self._make(name, entry.namespace, entry.spec, {**entry.spec.labels, **entry.labels})

    def _make(self, name: str, namespace: str, entry: WorkloadEntry, labels: Mapping[str, str]) -> Workload:
        account = ""
        if entry.service_account:
            account = f"spiffe://{self._trust_domain}/ns/{namespace}/sa/{entry.service_account}"
        locality = entry.locality or labels.get(_LOCALITY_LABEL, "").replace(".", "/")
        return Workload(
            name=name,
            namespace=namespace,
            address=entry.address,
            labels={**labels, **_labels_of_place(locality, self._cluster_id)},
            locality=locality,
            weight=entry.weight or 1,
            # getTLSModeFromWorkloadEntry: the label decides, else having an identity does
            tls_mode=labels.get(TLS_MODE_LABEL, ISTIO_TLS if account else ""),
            service_account=account,
            ports=entry.ports,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A service's port that ends at a port of the node itself."""

    service: Service
    port: ServicePort
    workload: Workload

    @property
    def number(self) -> int:
        return self.workload.port_of(self.port)


def locality_of(labels: Mapping[str, str]) -> Locality | None:
    """What labels say about where a workload is; None if nothing."""
    by_label = [labels.get(key, "") for key in _TOPOLOGY_LABELS]
    if any(by_label):
        return Locality(*by_label)
    label = labels.get(_LOCALITY_LABEL, "")
    return Locality.parse(label.replace(".", "/")) if label else None


def topology_labels(locality: Locality, cluster_id: str) -> dict[str, str]:
    """Labels that istiod adds, so that subsets and selectors can choose by them (AugmentLabels)."""
    places = (locality.region, locality.zone, locality.sub_zone)
    added = {**dict(zip(_TOPOLOGY_LABELS, places, strict=True)), "topology.istio.io/cluster": cluster_id}
    return {key: value for key, value in added.items() if value}


@lru_cache(1000)
def _labels_of_place(locality: str, cluster_id: str) -> Mapping[str, str]:
    return topology_labels(Locality.parse(locality), cluster_id)


def _with_aliases(account: str, aliases: Sequence[str]) -> Iterator[str]:
    """The identity in every trust domain (ExpandWithTrustDomains); what is no SPIFFE id stays alone."""
    yield account
    scheme, _, rest = account.partition("://")
    _, slash, path = rest.partition("/")
    if scheme == "spiffe" and slash:
        yield from (f"spiffe://{alias}/{path}" for alias in aliases)


def _merged(first: Service, second: Service) -> Service:
    """Two entries for one host of one namespace: the first one's nature, the ports and workloads of both."""
    known = {port.number for port in first.ports}
    return Service(
        first.hostname,
        first.namespace,
        (*first.ports, *(port for port in second.ports if port.number not in known)),
        first.resolution,
        first.mesh_external,
        tuple(sorted({*first.subject_alt_names, *second.subject_alt_names})),
        first.instances + second.instances,
        first.headless,
    )


def has_routes(service: Service, port: int) -> bool:
    found = service.port(port)
    return found is not None and found.parsed_protocol.has_routes


def is_udp(port: ServicePort) -> bool:
    return port.parsed_protocol is Protocol.UDP
