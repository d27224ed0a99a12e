"""ClusterLoadAssignment to the model (envoy/config/endpoint/v3). Called by `Parsed.value`; pure functions.

Envoy's rules, not gRPC's: gaps in priorities and a locality named twice are legal, a duplicate address is dropped.
"""

from __future__ import annotations

import ipaddress
import socket
import string
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2  # type: ignore[import-untyped]

from xds_client.decode.extensions import as_it_came
from xds_client.decode.fields import FieldError, each, inside, known_name, shortened, string_labels
from xds_client.decode.shape import Shape
from xds_client.decode.values import metadata
from xds_client.model import (
    NO_DETAILS,
    NO_METADATA,
    ClusterLoadAssignment,
    DropOverload,
    Endpoint,
    EndpointDetails,
    HealthStatus,
    Labels,
    LoadAssignmentPolicy,
    Locality,
    LocalityEndpoints,
    Metadata,
    Struct,
)

_MAX_PRIORITY = 128
_HOST_NAME = frozenset(f"{string.ascii_letters}{string.digits}.-_")
_LONGEST_NAME = 253
_MOST_TOLD = 20

_Known = dict[bytes, tuple[Labels, str, Metadata]]  # by what it was decoded from

locality_shape = Shape(
    LocalityEndpoints,
    endpoint_components_pb2.LocalityLbEndpoints,
    by_hand=frozenset({"locality", "metadata", "lb_endpoints", "load_balancing_weight", "priority", "proximity"}),
    not_kept={
        "load_balancer_endpoints": "it is not implemented, in Envoy neither",
        "leds_cluster_locality_config": "endpoints that say so are refused",
    },
)
endpoint_shape = Shape(
    Endpoint,
    endpoint_components_pb2.LbEndpoint,
    by_hand=frozenset({"endpoint", "health_status", "metadata", "load_balancing_weight"}),
    not_kept={"endpoint_name": "an endpoint that is only named is refused"},
)
details = Shape(
    EndpointDetails,
    endpoint_components_pb2.Endpoint,
    by={
        "health_check_config": as_it_came,
        "additional_addresses": lambda said: (
            said.address.socket_address.address,
            said.address.socket_address.port_value,
        ),
    },
    by_hand=frozenset({"address"}),
)
drop_overload = Shape(DropOverload, endpoint_pb2.ClusterLoadAssignment.Policy.DropOverload)
policy = Shape(LoadAssignmentPolicy, endpoint_pb2.ClusterLoadAssignment.Policy)
assignment_shape = Shape(
    ClusterLoadAssignment,
    endpoint_pb2.ClusterLoadAssignment,
    by_hand=frozenset({"cluster_name", "endpoints", "policy"}),
    not_kept={"named_endpoints": "an endpoint that is only named is refused"},
)


def cluster_load_assignment(message: Any, *, host_names: bool = False) -> ClusterLoadAssignment:
    """Decode the endpoints; an address must be an IP literal unless ``host_names`` (DNS clusters)."""
    problems: list[str] = []
    decode = partial(_locality, host_names=host_names, known={}, problems=problems)
    localities = each("endpoints", decode, message.endpoints)
    said = LoadAssignmentPolicy(**policy.said(message.policy, problems)) if message.HasField("policy") else None
    told = tuple(dict.fromkeys(problems))
    if len(told) > _MOST_TOLD:
        told = (*told[:_MOST_TOLD], f"and {len(told) - _MOST_TOLD} more")
    return ClusterLoadAssignment(message.cluster_name, _first_of_each_address(localities), said, told)


def _locality(message: Any, *, host_names: bool, known: _Known, problems: list[str]) -> LocalityEndpoints:
    if message.priority > _MAX_PRIORITY:
        raise FieldError("priority", f"{message.priority} is more than {_MAX_PRIORITY}")
    if message.HasField("leds_cluster_locality_config"):
        raise FieldError("leds_cluster_locality_config", "LEDS is not supported")
    where = message.locality
    return LocalityEndpoints(
        locality=Locality(where.region, where.zone, where.sub_zone),
        priority=message.priority,
        weight=message.load_balancing_weight.value,
        endpoints=each(
            "lb_endpoints",
            partial(_endpoint, host_names=host_names, known=known, problems=problems),
            message.lb_endpoints,
        ),
        metadata=_whole(message.metadata, problems) if message.HasField("metadata") else NO_METADATA,
        proximity=message.proximity.value if message.HasField("proximity") else None,
    )


def _endpoint(message: Any, *, host_names: bool, known: _Known, problems: list[str]) -> Endpoint:
    address, port = inside("endpoint.address", partial(_socket_address, host_names=host_names), message)
    weight = message.load_balancing_weight.value if message.HasField("load_balancing_weight") else 1
    if weight < 1:
        raise FieldError("load_balancing_weight", "0 is not a weight")
    has_metadata = message.HasField("metadata")
    labels, workload, whole = _metadata(message.metadata, known, problems) if has_metadata else _NOTHING
    health = known_name(message, "health_status", HealthStatus) if message.health_status else HealthStatus.UNKNOWN
    said = message.endpoint
    rare = said.hostname or said.additional_addresses or said.HasField("health_check_config")
    more = EndpointDetails(**details.said(said, problems)) if rare else NO_DETAILS
    return Endpoint(address, port, weight, health, labels, workload, whole, more)


_NOTHING: tuple[Labels, str, Metadata] = ((), "", NO_METADATA)


def _besides(message: Any, problems: list[str]) -> Metadata:
    """Without what has attributes of its own: mostly nothing."""
    said = _whole(message, problems)
    kept = []
    for name, struct in said.filter_metadata:
        fields = tuple(pair for pair in struct.fields if name != "istio" or pair[0] != "workload")
        if fields and name != "envoy.transport_socket_match":
            kept.append((name, Struct(fields)))
    return replace(said, filter_metadata=tuple(kept)) if kept or said.typed_filter_metadata else NO_METADATA


def _whole(message: Any, problems: list[str]) -> Metadata:
    malformed: list[str] = []
    found = Metadata(**metadata.said(message, malformed))
    problems += (f"metadata.{what}" for what in malformed)
    return found


def _metadata(message: Any, known: _Known, problems: list[str]) -> tuple[Labels, str, Metadata]:
    """Transport labels, workload, and what else there is. A deployment's endpoints have the same: it is read once."""
    packed = message.SerializeToString()
    if packed not in known:
        metadata = message.filter_metadata
        labels: Labels = ()
        if "envoy.transport_socket_match" in metadata:
            place = "metadata.envoy.transport_socket_match"
            labels = inside(place, string_labels, metadata["envoy.transport_socket_match"])
        workload = metadata["istio"].fields["workload"].string_value if "istio" in metadata else ""
        known[packed] = labels, workload, _besides(message, problems)
    return known[packed]


def _socket_address(message: Any, *, host_names: bool) -> tuple[str, int]:
    where = message.endpoint.address
    kind = where.WhichOneof("address")
    if kind != "socket_address":
        raise FieldError(kind or "socket_address", "only TCP socket addresses can be dialled")
    socket_address = where.socket_address
    if socket_address.protocol != socket_address.TCP:
        raise FieldError("socket_address.protocol", "only TCP can be dialled")
    if socket_address.WhichOneof("port_specifier") != "port_value" or not 0 < socket_address.port_value < 1 << 16:
        raise FieldError("socket_address.port_value", f"{socket_address.port_value} is not a port")
    address: str = socket_address.address
    if not host_names:
        _require_ip(address)
    elif not _HOST_NAME.issuperset(address) or not 0 < len(address) <= _LONGEST_NAME:
        _require_ip(address, "is neither a host name nor an IP address")  # above all no unix: path
    return address, _one(socket_address.port_value)


@lru_cache(maxsize=256)
def _one(port: int) -> int:
    """One object for all endpoints that say it."""
    return port


def _require_ip(address: str, otherwise: str = "is not an IP address") -> None:
    try:
        socket.inet_pton(socket.AF_INET, address)  # as strict as below, and in a tenth of the time
    except (OSError, ValueError):
        _require_any_ip(address, otherwise)


def _require_any_ip(address: str, otherwise: str) -> None:
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
            kept.append(replace(group, endpoints=tuple(unique)))
    return tuple(kept)
