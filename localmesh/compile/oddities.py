"""What a folder says that will not do what its author expects, though istiod takes it: told, never refused. Pure.

References to what is not there, and what another document or route hides. istiod's own analyzers tell of the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localmesh.compile.authorization import Providers
from localmesh.compile.hosts import fully_qualified
from localmesh.compile.policy_oddities import of_policies
from localmesh.config.virtual_service import HttpMatch, StringMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmesh.compile.policy import Rules
    from localmesh.compile.registry import Registry, Service
    from localmesh.config import Resource, Resources
    from localmesh.config.destination_rule import DestinationRule, TrafficPolicy
    from localmesh.config.peer_authentication import PeerAuthentication
    from localmesh.config.virtual_service import Destination, HttpRoute, VirtualService


class Oddities:
    """One sentence each, which begins with the document's kind and name, and the field."""

    def __init__(self, resources: Resources, registry: Registry, rules: Rules, domain: str) -> None:
        self._resources = resources
        self._registry = registry
        self._rules = rules
        self._domain = domain

    def __iter__(self) -> Iterator[str]:
        yield from self._resources.notes
        yield from self._of_virtual_services()
        yield from self._of_destination_rules()
        yield from self._of_service_entries()
        yield from self._of_peer_authentications()
        yield from of_policies(self._resources, Providers(self._resources.mesh, self._registry))

    def _of_virtual_services(self) -> Iterator[str]:
        owners: dict[str, Resource[VirtualService]] = {}
        for resource in self._resources.virtual_services:
            if not resource.spec.applies_to_mesh:
                continue
            where = f"VirtualService {resource.namespace}/{resource.name}: "
            for number, host in enumerate(resource.spec.hosts):
                field = f"{where}hosts[{number}]: "
                name = fully_qualified(host, resource.namespace, self._domain).lower()
                owner = owners.setdefault(name, resource)
                if owner is not resource:
                    yield f"{field}{name} has its routes from VirtualService {owner.namespace}/{owner.name} already"
                elif not self._services(name, resource.namespace):
                    yield f"{field}no service has the name {name}: it is known on port 80 only"
            for said in self._of_routes(resource):
                yield where + said

    def _of_routes(self, resource: Resource[VirtualService]) -> Iterator[str]:
        catch_all = None
        for number, http in enumerate(resource.spec.http):
            if catch_all is not None:
                yield f"http[{number}]: is never reached: http[{catch_all}] takes every request"
            elif _takes_everything(http):
                catch_all = number
            for field, destination in _destinations(http):
                for said in self._of_destination(destination, resource.namespace):
                    yield f"http[{number}].{field}.{said}"

    def _of_destination(self, destination: Destination, namespace: str) -> Iterator[str]:
        host = fully_qualified(destination.host, namespace, self._domain).lower()
        services = self._services(host, namespace)
        if not services:
            yield f"host: no service has the name {host}: calls to it fail"
            return
        if destination.subset and not self._rules.have_subset(host, destination.subset):
            yield f"subset: no DestinationRule has a subset {destination.subset} of {host}: calls to it fail"
        if destination.port is not None and services[0].port(destination.port.number) is None:
            yield f"port.number: {host} has no port {destination.port.number}, {_ports(services[0])}: calls to it fail"

    def _of_destination_rules(self) -> Iterator[str]:
        first: dict[tuple[str, str], list[Resource[DestinationRule]]] = {}
        for resource in self._resources.destination_rules:
            where = f"DestinationRule {resource.namespace}/{resource.name}: "
            host = fully_qualified(resource.spec.host, resource.namespace, self._domain).lower()
            earlier = first.setdefault((resource.namespace, host), [])
            for said in _hidden_by(earlier, resource):
                yield where + said
            earlier.append(resource)
            services = self._services(host, resource.namespace)
            if not services:
                yield f"{where}host: no service has the name {host}: it holds for nothing"
            elif not host.startswith("*"):
                for said in _unmatched(resource.spec, services[0]):
                    yield where + said

    def _of_service_entries(self) -> Iterator[str]:
        owners: dict[tuple[str, str, int], str] = {}
        for resource in self._resources.service_entries:
            if resource.spec.of_kubernetes:
                continue
            for number, port in enumerate(resource.spec.ports):
                for host in dict.fromkeys(resource.spec.hosts):
                    owner = owners.setdefault((resource.namespace, host.lower(), port.number), resource.name)
                    if owner != resource.name:
                        where = f"ServiceEntry {resource.namespace}/{resource.name}: ports[{number}]"
                        yield f"{where}: {host} has port {port.number} from ServiceEntry {owner} already"

    def _of_peer_authentications(self) -> Iterator[str]:
        owners: dict[tuple[str, tuple[tuple[str, str], ...]], Resource[PeerAuthentication]] = {}
        for resource in self._resources.peer_authentications:
            selected = tuple(sorted(resource.spec.labels.items()))
            owner = owners.setdefault((resource.namespace, selected), resource)
            if owner is not resource:
                where = f"PeerAuthentication {resource.namespace}/{resource.name}: selector"
                yield f"{where}: PeerAuthentication {owner.namespace}/{owner.name} holds for the same workloads already"

    def _services(self, host: str, namespace: str) -> list[Service]:
        """The service of the name, or all that a wildcard covers."""
        if host.startswith("*"):
            return [service for service in self._registry.services(namespace) if service.hostname.endswith(host[1:])]
        found = self._registry.service(host, namespace)
        return [found] if found is not None else []


def _destinations(http: HttpRoute) -> Iterator[tuple[str, Destination]]:
    for number, choice in enumerate(http.route):
        yield f"route[{number}].destination", choice.destination
    if http.mirror is not None:
        yield "mirror", http.mirror
    for number, mirror in enumerate(http.mirrors):
        yield f"mirrors[{number}].destination", mirror.destination


def _takes_everything(http: HttpRoute) -> bool:
    if not http.match:
        return True
    return any(
        match in (HttpMatch(name=match.name, uri=match.uri), HttpMatch(name=match.name))
        and (match.uri is None or match.uri in (StringMatch(prefix="/"), StringMatch(regex=".*")))
        for match in http.match
    )


def _hidden_by(earlier: list[Resource[DestinationRule]], resource: Resource[DestinationRule]) -> Iterator[str]:
    """Of several rules for one host the first keeps what it says; the others add to it."""
    for before in earlier:
        owner = f"DestinationRule {before.namespace}/{before.name}"
        if resource.spec.traffic_policy is not None and before.spec.traffic_policy is not None:
            yield f"trafficPolicy: {owner} has one for the same host already, and that one holds"
        names = {subset.name for subset in before.spec.subsets}
        for number, subset in enumerate(resource.spec.subsets):
            if subset.name in names:
                yield f"subsets[{number}]: {owner} has a subset {subset.name} of the same host already"


def _unmatched(spec: DestinationRule, service: Service) -> Iterator[str]:
    for number, subset in enumerate(spec.subsets):
        wanted = subset.labels.items()
        if not service.is_dns and not any(wanted <= workload.labels.items() for workload in service.workloads):
            labels = ", ".join(f"{key}={value}" for key, value in sorted(subset.labels.items()))
            yield f"subsets[{number}].labels: no endpoint of {service.hostname} has {labels}"
        for said in _unknown_ports(subset.traffic_policy, service):
            yield f"subsets[{number}].{said}"
    yield from _unknown_ports(spec.traffic_policy, service)


def _unknown_ports(policy: TrafficPolicy | None, service: Service) -> Iterator[str]:
    for number, setting in enumerate(policy.port_level_settings if policy is not None else ()):
        if service.port(setting.port.number) is None:
            where = f"trafficPolicy.portLevelSettings[{number}].port.number"
            yield f"{where}: {service.hostname} has no port {setting.port.number}, {_ports(service)}"


def _ports(service: Service) -> str:
    return f"only {', '.join(str(port.number) for port in service.ports)}" if service.ports else "and no other"
