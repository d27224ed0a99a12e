"""Endpoints as the mesh says them. Frozen values, no behaviour. Fields are Envoy's (envoy/config/endpoint/v3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from xds_client.model.values import NO_METADATA

if TYPE_CHECKING:
    from xds_client.model.values import Metadata

Labels = tuple[tuple[str, str], ...]  # sorted by key


class HealthStatus(Enum):
    UNKNOWN = "UNKNOWN"  # counts as healthy
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    TIMEOUT = "TIMEOUT"
    DEGRADED = "DEGRADED"


@dataclass(frozen=True, slots=True)
class Locality:
    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True, slots=True)
class EndpointDetails:
    """What is seldom said of an endpoint (``Endpoint``): the name that it answers to, further addresses of it as pairs
    of address and port, and ``health_check_config`` as it came.
    """

    hostname: str = ""
    additional_addresses: tuple[tuple[str, int], ...] = ()
    health_check_config: object = None


NO_DETAILS = EndpointDetails()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a workload. ``address`` is an IP literal, or a host name in DNS clusters. Weight is at least 1.

    ``workload`` is metadata istio.workload (``name;namespace;app;version;cluster``), ``transport_labels`` is metadata
    envoy.transport_socket_match (``tlsMode=istio``); ``metadata`` is all the rest.

    >>> Endpoint("10.0.0.1", 9080, weight=3).health
    <HealthStatus.UNKNOWN: 'UNKNOWN'>
    """

    address: str
    port: int
    weight: int = 1
    health: HealthStatus = HealthStatus.UNKNOWN
    transport_labels: Labels = ()
    workload: str = ""
    metadata: Metadata = NO_METADATA
    details: EndpointDetails = NO_DETAILS


@dataclass(frozen=True, slots=True)
class LocalityEndpoints:
    locality: Locality
    priority: int
    weight: int  # 0: not said
    endpoints: tuple[Endpoint, ...]
    metadata: Metadata = NO_METADATA
    proximity: int | None = None


@dataclass(frozen=True, slots=True)
class DropOverload:
    """``ClusterLoadAssignment.Policy.DropOverload``: so many of a million requests are dropped."""

    category: str = ""
    drop_percentage: int | None = None


@dataclass(frozen=True, slots=True)
class LoadAssignmentPolicy:
    """``ClusterLoadAssignment.Policy``. ``overprovisioning_factor`` in per cent, None: 140."""

    drop_overloads: tuple[DropOverload, ...] = ()
    overprovisioning_factor: int | None = None
    endpoint_stale_after: float | None = None
    weighted_priority_health: bool = False


@dataclass(frozen=True, slots=True)
class ClusterLoadAssignment:
    """One EDS resource (or the inline endpoints of a STATIC or DNS cluster). ``policy`` None: not said.

    ``left_out``: what could not be read of it, and why; of very much only some.
    """

    name: str
    localities: tuple[LocalityEndpoints, ...]
    policy: LoadAssignmentPolicy | None = None
    left_out: tuple[str, ...] = ()
