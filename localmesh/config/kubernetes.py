"""Kubernetes' own Services and who stands behind them, as `kubectl get -o yaml` writes them, read as ServiceEntries.

Follows istiod's `pilot/pkg/serviceregistry/kube/conversion.go` and `pkg/config/kube/conversion.go`. Fields that change
nothing of what a member is sent are left aside. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from localmesh.config.decode import IntOrString, Spec
from localmesh.config.service_entry import (
    MAX_PORT,
    Location,
    Protocol,
    ServiceEntry,
    ServiceEntryResolution,
    ServicePort,
    WorkloadEntry,
    WorkloadSelector,
    is_ip,
)

SERVICE_NAME = "kubernetes.io/service-name"  # the label that says whose an EndpointSlice is
_HEADLESS = "None"
_APP_PROTOCOLS = {"kubernetes.io/h2c": "http2", "kubernetes.io/ws": "http", "kubernetes.io/wss": "https"}
_PROTOCOLS = {protocol.value for protocol in Protocol} - {""}
# of what is sniffed elsewhere istiod knows these to speak first at the server's end (wellKnownPorts)
_SERVER_SPEAKS_FIRST = {22, 25, 53, 3306, 27017, 6379, 9160}


_NO_PORT = IntOrString("")


@dataclass(frozen=True, slots=True)
class _Open(Spec):
    """Fields that are not listed are Kubernetes' business."""

    IS_OPEN: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class KubernetesPort(_Open):
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    target_port: IntOrString = _NO_PORT

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.protocol not in ("TCP", "UDP", "SCTP"):
            yield "protocol", f"{self.protocol!r} is none of TCP, UDP, SCTP"
        if not 0 < self.port <= MAX_PORT:
            yield "port", f"{self.port} is not a port (1 to {MAX_PORT})"
        if self.target_port.isdecimal() and not 0 < int(self.target_port[:9]) <= MAX_PORT:
            yield "targetPort", f"{self.target_port} is not a port (1 to {MAX_PORT})"


@dataclass(frozen=True, slots=True)
class ServiceSpec(_Open):
    ports: tuple[KubernetesPort, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    type: str = "ClusterIP"
    cluster_ip: str = ""

    RENAMED: ClassVar[Mapping[str, str]] = {"cluster_ip": "clusterIP"}

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.type == "ExternalName":
            reason = "localmesh does not serve ExternalName: write a ServiceEntry with resolution DNS"
            yield "type", f"{reason}, or say --ignore Service (in Python: ignore=['Service'])"
        elif not self.ports:
            yield "ports", "needs at least one port"


@dataclass(frozen=True, slots=True)
class KubernetesService(_Open):
    spec: ServiceSpec


@dataclass(frozen=True, slots=True)
class EndpointPort(_Open):
    port: int
    name: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if not 0 < self.port <= MAX_PORT:
            yield "port", f"{self.port} is not a port (1 to {MAX_PORT})"


@dataclass(frozen=True, slots=True)
class Conditions(_Open):
    ready: bool = True


@dataclass(frozen=True, slots=True)
class SliceEndpoint(_Open):
    addresses: tuple[str, ...]
    conditions: Conditions = Conditions()


@dataclass(frozen=True, slots=True)
class EndpointSlice(_Open):
    """What it says lies beside its metadata; it has no spec."""

    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    def workloads(self) -> Iterator[WorkloadEntry]:
        ports = {port.name: port.port for port in self.ports}
        for endpoint in self.endpoints:
            if endpoint.conditions.ready and is_ip(endpoint.addresses[0] if endpoint.addresses else ""):
                yield WorkloadEntry(endpoint.addresses[0], ports)  # the others are the same pod's (istiod takes one)


@dataclass(frozen=True, slots=True)
class EndpointAddress(_Open):
    ip: str


@dataclass(frozen=True, slots=True)
class EndpointSubset(_Open):
    addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoints(_Open):
    """The older form, of the Service of the same name."""

    subsets: tuple[EndpointSubset, ...] = ()

    def workloads(self) -> Iterator[WorkloadEntry]:
        for subset in self.subsets:
            ports = {port.name: port.port for port in subset.ports}
            yield from (WorkloadEntry(address.ip, ports) for address in subset.addresses if is_ip(address.ip))


def host_of(name: str, namespace: str, domain: str) -> str:
    return f"{name}.{namespace}.svc.{domain}"


def service_entry(spec: ServiceSpec, host: str, behind: Sequence[EndpointSlice | Endpoints]) -> ServiceEntry:
    """Who is listed behind it is called; where nobody is listed, the WorkloadEntries that it selects."""
    ports = tuple(_port(port) for port in spec.ports)
    if spec.cluster_ip == _HEADLESS:  # called where its name leads to, at the port that is called, as behind a sidecar
        ports = tuple(replace(port, target_port=0) for port in ports)
        return ServiceEntry((host,), ports, location=Location.MESH_INTERNAL, of_kubernetes=True, headless=True)
    if behind:  # and they say where each of their ports is
        ports = tuple(replace(port, target_name=port.name) for port in ports)
    endpoints = dict.fromkeys(_Once(entry) for one in behind for entry in one.workloads())
    selector = WorkloadSelector(spec.selector) if spec.selector and not behind else None
    return ServiceEntry(
        (host,),
        ports,
        location=Location.MESH_INTERNAL,
        resolution=ServiceEntryResolution.STATIC,
        endpoints=tuple(once.entry for once in endpoints),
        workload_selector=selector,
        of_kubernetes=True,
    )


@dataclass(frozen=True, slots=True)
class _Once:
    """A pod is in several slices while it moves between them."""

    entry: WorkloadEntry

    def __hash__(self) -> int:
        return hash(self.entry.address)


def _port(port: KubernetesPort) -> ServicePort:
    target = port.target_port
    if target.isdecimal():
        return ServicePort(port.port, port.name, _protocol(port), int(target))
    return ServicePort(port.port, port.name, _protocol(port), target_name=target)


def _protocol(port: KubernetesPort) -> str:
    """`ConvertProtocol`: appProtocol, else what the name begins with, else it is found out."""
    if port.protocol == "UDP":
        return Protocol.UDP.value
    said = _APP_PROTOCOLS.get(port.app_protocol, port.app_protocol).lower()
    if said in _PROTOCOLS:
        return said
    name = port.name.lower()
    if name == "grpc-web" or name.startswith("grpc-web-"):
        return Protocol.GRPC_WEB.value
    prefix = name.partition("-")[0]
    if prefix in _PROTOCOLS - {Protocol.UDP.value}:
        return prefix
    return Protocol.TCP.value if port.port in _SERVER_SPEAKS_FIRST or port.protocol == "SCTP" else ""
