"""ServiceEntry and WorkloadEntry, as far as localmesh serves them. Field meanings are Istio's (networking/v1)."""

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from localmesh.config.decode import Spec

MAX_PORT = 65535


def is_ip(address: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return _is_ip(address)
    return True  # most are, and this is known in a tenth of the time


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


class Location(Enum):
    MESH_EXTERNAL = 0
    MESH_INTERNAL = 1


class ServiceEntryResolution(Enum):
    NONE = 0
    STATIC = 1
    DNS = 2
    DNS_ROUND_ROBIN = 3


class Protocol(Enum):
    """`pkg/config/protocol/instance.go`; no protocol means that the port is sniffed."""

    TCP = "tcp"
    UDP = "udp"
    GRPC = "grpc"
    GRPC_WEB = "grpc-web"
    HTTP = "http"
    HTTP_PROXY = "http_proxy"
    HTTP2 = "http2"
    HTTPS = "https"
    TLS = "tls"
    MONGO = "mongo"
    REDIS = "redis"
    MYSQL = "mysql"
    SNIFFED = ""

    @property
    def is_http2(self) -> bool:
        return self in (Protocol.GRPC, Protocol.GRPC_WEB, Protocol.HTTP2)

    @property
    def has_routes(self) -> bool:
        """Whether RDS answers for ports of this protocol (IsHTTPOrSniffed)."""
        return self.is_http2 or self in (Protocol.HTTP, Protocol.HTTP_PROXY, Protocol.SNIFFED)


@dataclass(frozen=True, slots=True)
class ServicePort(Spec):
    """``target_name``: which of a workload's ports it is; who has none of that name is not called there."""

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"target_name"})

    number: int
    name: str
    protocol: str = ""
    target_port: int = 0
    target_name: str = ""

    @property
    def parsed_protocol(self) -> Protocol:
        return Protocol(self.protocol.lower())

    def problems(self) -> Iterator[tuple[str, str]]:
        if not 0 < self.number <= MAX_PORT:
            yield "number", f"{self.number} is not a port (1 to {MAX_PORT})"
        if self.target_port > MAX_PORT:
            yield "targetPort", f"{self.target_port} is not a port (1 to {MAX_PORT})"
        if not self.name:
            yield "name", "must not be empty"
        if self.protocol.lower() not in {protocol.value for protocol in Protocol}:
            yield "protocol", f"{self.protocol!r} is not a protocol that Istio knows"


@dataclass(frozen=True, slots=True)
class WorkloadEntry(Spec):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"network"})

    address: str
    ports: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    locality: str = ""
    weight: int = 0
    service_account: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.address:
            yield "address", "must not be empty"
        if self.address.startswith("unix://"):
            yield "address", "localmesh does not support unix:// addresses yet"
        for name, port in self.ports.items():
            if not 0 < port <= MAX_PORT:
                yield "ports", f"{name}: {port} is not a port (1 to {MAX_PORT})"


@dataclass(frozen=True, slots=True)
class WorkloadSelector(Spec):
    labels: Mapping[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.labels:
            yield "labels", "must not be empty"


@dataclass(frozen=True, slots=True)
class ServiceEntry(Spec):
    """``of_kubernetes``: made of a Service; ``headless``: one whose pods have names below its own."""

    UNWRITTEN: ClassVar[frozenset[str]] = frozenset({"of_kubernetes", "headless"})

    hosts: tuple[str, ...]
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...] = ()
    location: Location = Location.MESH_EXTERNAL
    resolution: ServiceEntryResolution = ServiceEntryResolution.NONE
    endpoints: tuple[WorkloadEntry, ...] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ("*",)
    subject_alt_names: tuple[str, ...] = ()
    of_kubernetes: bool = False
    headless: bool = False

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.hosts:
            yield "hosts", "needs at least one host"
        if any("*" in host.removeprefix("*.") for host in self.hosts):
            yield "hosts", "a wildcard is written *.NAME"
        if any("*" in host for host in self.hosts) and self.resolution is not ServiceEntryResolution.NONE:
            yield "hosts", "localmesh supports wildcard hosts only with resolution NONE"
        for what in ("number", "name"):
            seen = Counter(getattr(port, what) for port in self.ports)
            if twice := [value for value, times in seen.items() if times > 1]:
                yield "ports", f"port {what} {twice[0]!r} is used twice"
        if self.endpoints and self.workload_selector:
            yield "endpoints", "endpoints and workloadSelector exclude each other"
        if self.resolution is ServiceEntryResolution.NONE and self.endpoints:
            yield "endpoints", "resolution NONE takes no endpoints"
        if self.resolution is ServiceEntryResolution.STATIC and not all(
            is_ip(endpoint.address) for endpoint in self.endpoints
        ):
            yield "endpoints", "resolution STATIC takes IP addresses only"
        if self.resolution is ServiceEntryResolution.DNS_ROUND_ROBIN and len(self.endpoints) > 1:
            yield "endpoints", "DNS_ROUND_ROBIN takes one endpoint"
        yield from exported_to_all(self.export_to)


def exported_to_all(export_to: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if export_to not in ((), ("*",)):
        yield "exportTo", 'localmesh supports only ["*"] yet'
