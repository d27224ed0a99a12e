"""Cluster to the model (envoy/config/cluster/v3/cluster.proto). Called by `Parsed.value`; pure functions."""

from __future__ import annotations

from functools import partial
from typing import Any

from xds_client.decode.cluster_tls import cluster_tls
from xds_client.decode.endpoint import cluster_load_assignment
from xds_client.decode.fields import FieldError, inside, known_name, seconds
from xds_client.decode.left_out import of_cluster
from xds_client.model import Cluster, ClusterLoadAssignment, DiscoveryType, LbPolicy

# Envoy's defaults (cluster.proto, circuit_breaker.proto); istiod's way to say "no limit" is the largest uint32.
_CONNECT_TIMEOUT = 5.0
_LONGEST_CONNECT = 3600.0  # the kernel gives up long before, and not every clock counts further
_MAX_REQUESTS = 1024
_NO_LIMIT = 2**32 - 1
_MAX_PORT = 65535

_DNS = (DiscoveryType.STRICT_DNS, DiscoveryType.LOGICAL_DNS)


def cluster(message: Any) -> Cluster:
    if message.WhichOneof("cluster_discovery_type") == "cluster_type":
        raise FieldError("cluster_type", f"{message.cluster_type.name} is not supported")
    discovery = known_name(message, "type", DiscoveryType)
    security = cluster_tls(message)
    return Cluster(
        name=message.name,
        discovery=discovery,
        eds_name=_eds_name(message) if discovery is DiscoveryType.EDS else "",
        lb_policy=known_name(message, "lb_policy", LbPolicy),
        connect_timeout=_connect_timeout(message),
        tls=security.tls,
        transport_matches=security.matches,
        inline_endpoints=_inline_endpoints(message, discovery),
        max_requests=_max_requests(message),
        port_override=_port_override(message),
        unusable=security.unusable,
        left_out=of_cluster(message),
    )


def _connect_timeout(message: Any) -> float:
    if not message.HasField("connect_timeout"):
        return _CONNECT_TIMEOUT
    said = seconds("connect_timeout", message.connect_timeout)
    if said <= 0:
        raise FieldError("connect_timeout", "must be more than 0 s")
    return min(said, _LONGEST_CONNECT)


def _eds_name(message: Any) -> str:
    """The name that EDS is asked for: "if not specified, the cluster name"."""
    name: str = message.eds_cluster_config.service_name or message.name
    return name


def _inline_endpoints(message: Any, discovery: DiscoveryType) -> ClusterLoadAssignment | None:
    if discovery in (DiscoveryType.EDS, DiscoveryType.ORIGINAL_DST):
        return None
    decode = partial(cluster_load_assignment, host_names=discovery in _DNS)
    return inside("load_assignment", decode, message.load_assignment)


def _port_override(message: Any) -> int:
    """So istiod says the target port of a ServiceEntry with resolution NONE."""
    said = int(message.original_dst_lb_config.upstream_port_override.value)
    if said > _MAX_PORT:
        raise FieldError("original_dst_lb_config.upstream_port_override", f"{said} is not a port (1 to {_MAX_PORT})")
    return said


def _max_requests(message: Any) -> int | None:
    """The breaker of ordinary traffic: the first threshold of DEFAULT priority (gRFC A32), 1024 when not said."""
    for threshold in message.circuit_breakers.thresholds:
        if threshold.priority == 0 and threshold.HasField("max_requests"):
            said = int(threshold.max_requests.value)
            return None if said == _NO_LIMIT else said
    return _MAX_REQUESTS
