"""ClusterLoadAssignment to the model (envoy/config/endpoint/v3). Called by `Parsed.value`; pure functions.

Envoy's rules, not gRPC's: gaps in priorities and a locality named twice are legal, a duplicate address is dropped.
"""

from __future__ import annotations

import ipaddress
import string
from functools import partial
from typing import Any

from xds_client.decode.fields import FieldError, each, inside, known_name, shortened, string_labels
from xds_client.model import ClusterLoadAssignment, Endpoint, HealthStatus, Labels, Locality, LocalityEndpoints

_MAX_PRIORITY = 128
_HOST_NAME = frozenset(f"{string.ascii_letters}{string.digits}.-_")
_LONGEST_NAME = 253

_Known = dict[bytes, tuple[Labels, str]]  # by what it was decoded from


def cluster_load_assignment(message: Any, *, host_names: bool = False) -> ClusterLoadAssignment:
    """Decode the endpoints; an address must be an IP literal unless ``host_names`` (DNS clusters)."""
    decode = partial(_locality, host_names=host_names, known={})
    localities = each("endpoints", decode, message.endpoints)
    return ClusterLoadAssignment(message.cluster_name, _first_of_each_address(localities))


def _locality(message: Any, *, host_names: bool, known: _Known) -> LocalityEndpoints:
    if message.priority > _MAX_PRIORITY:
        raise FieldError("priority", f"{message.priority} is more than {_MAX_PRIORITY}")
    if message.HasField("leds_cluster_locality_config"):
        raise FieldError("leds_cluster_locality_config", "LEDS is not supported")
    where = message.locality
    return LocalityEndpoints(
        locality=Locality(where.region, where.zone, where.sub_zone),
        priority=message.priority,
        weight=message.load_balancing_weight.value,
        endpoints=each("lb_endpoints", partial(_endpoint, host_names=host_names, known=known), message.lb_endpoints),
    )


def _endpoint(message: Any, *, host_names: bool, known: _Known) -> Endpoint:
    address, port = inside("endpoint.address", partial(_socket_address, host_names=host_names), message)
    weight = message.load_balancing_weight.value if message.HasField("load_balancing_weight") else 1
    if weight < 1:
        raise FieldError("load_balancing_weight", "0 is not a weight")
    transport_labels, workload = _metadata(message.metadata, known) if message.HasField("metadata") else ((), "")
    health = known_name(message, "health_status", HealthStatus) if message.health_status else HealthStatus.UNKNOWN
    return Endpoint(address, port, weight, health, transport_labels, workload)


def _metadata(message: Any, known: _Known) -> tuple[Labels, str]:
    """Transport labels and workload. A deployment's endpoints have the same, so each is looked at, and kept, once."""
    packed = message.SerializeToString()
    if packed not in known:
        metadata = message.filter_metadata
        labels: Labels = ()
        if "envoy.transport_socket_match" in metadata:
            place = "metadata.envoy.transport_socket_match"
            labels = inside(place, string_labels, metadata["envoy.transport_socket_match"])
        workload = metadata["istio"].fields["workload"].string_value if "istio" in metadata else ""
        known[packed] = labels, workload
    return known[packed]


def _socket_address(message: Any, *, host_names: bool) -> tuple[str, int]:
    kind = message.endpoint.address.WhichOneof("address")
    if kind != "socket_address":
        raise FieldError(kind or "socket_address", "only TCP socket addresses can be dialled")
    socket_address = message.endpoint.address.socket_address
    if socket_address.protocol != socket_address.TCP:
        raise FieldError("socket_address.protocol", "only TCP can be dialled")
    if socket_address.WhichOneof("port_specifier") != "port_value" or not 0 < socket_address.port_value < 1 << 16:
        raise FieldError("socket_address.port_value", f"{socket_address.port_value} is not a port")
    address: str = socket_address.address
    if not host_names:
        _require_ip(address)
    elif not _HOST_NAME.issuperset(address) or not 0 < len(address) <= _LONGEST_NAME:
        _require_ip(address, "is neither a host name nor an IP address")  # above all no unix: path
    return address, socket_address.port_value


def _require_ip(address: str, otherwise: str = "is not an IP address") -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise FieldError("socket_address.address", f"{shortened(address)} {otherwise}") from None


def _first_of_each_address(localities: tuple[LocalityEndpoints, ...]) -> tuple[LocalityEndpoints, ...]:
    """Envoy keeps "only the first one" of duplicate hosts of one priority (source/extensions/clusters/eds/eds.cc).

    gRPC would NACK instead; here it would turn one copied WorkloadEntry into an outage of the whole service.
    """
    seen: set[tuple[int, str, int]] = set()
    kept: list[LocalityEndpoints] = []
    for group in localities:
        unique = []
        for endpoint in group.endpoints:
            key = (group.priority, endpoint.address, endpoint.port)
            if key not in seen:
                seen.add(key)
                unique.append(endpoint)
        if len(unique) == len(group.endpoints):
            kept.append(group)
        else:
            kept.append(LocalityEndpoints(group.locality, group.priority, group.weight, tuple(unique)))
    return tuple(kept)
