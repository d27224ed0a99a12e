"""Cluster to the model (envoy/config/cluster/v3/cluster.proto). Called by `Parsed.value`; pure functions."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2  # type: ignore[import-untyped]

from xds_client.decode.cluster_tls import cluster_tls
from xds_client.decode.endpoint import cluster_load_assignment
from xds_client.decode.fields import FieldError, bounded_patterns, inside, known_name, seconds
from xds_client.decode.left_out import of_cluster, of_endpoints
from xds_client.decode.traffic_policy import cluster_terms
from xds_client.decode.values import metadata_of
from xds_client.model import (
    NO_METADATA,
    Cluster,
    ClusterLoadAssignment,
    ClusterTerms,
    DeferredMetadata,
    DiscoveryType,
    LbPolicy,
)

# Envoy's defaults (cluster.proto, circuit_breaker.proto); istiod's way to say "no limit" is the largest uint32.
_CONNECT_TIMEOUT = 5.0
_LONGEST_CONNECT = 3600.0  # the kernel gives up long before, and not every clock counts further
_MAX_REQUESTS = 1024
_NO_LIMIT = 2**32 - 1
_MAX_PORT = 65535

_DNS = (DiscoveryType.STRICT_DNS, DiscoveryType.LOGICAL_DNS)


# What is each cluster's own; the rest of many clusters is the same, and looked at once.
_OWN = ("alt_stat_name", *sorted(cluster_terms.by_hand - {"lb_policy"}))
_LARGEST_KEPT = 4096  # bytes; what is larger is rarely said twice


def cluster(message: Any) -> Cluster:
    """The message is used up: what was read of it is cleared."""
    if message.WhichOneof("cluster_discovery_type") == "cluster_type":
        raise FieldError("cluster_type", f"{message.cluster_type.name} is not supported")
    discovery = known_name(message, "type", DiscoveryType)
    security = cluster_tls(message)
    by_address = of_endpoints(message)
    said = message.metadata.SerializeToString(deterministic=True)  # so that the same is the same bytes
    read = Cluster(
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
        metadata=DeferredMetadata(said, metadata_of) if said else NO_METADATA,
    )
    terms, left_out, unread = _terms_of(message)
    return replace(read, terms=terms, left_out=(*by_address, *left_out) if by_address else left_out, unread=unread)


_Terms = tuple[ClusterTerms, tuple[str, ...], tuple[str, ...]]


def _terms_of(message: Any) -> _Terms:
    for field in _OWN:
        message.ClearField(field)
    rest = message.SerializeToString(deterministic=True)
    return _known_terms(rest) if len(rest) <= _LARGEST_KEPT else _terms(rest)


def _terms(rest: bytes) -> _Terms:
    """Besides them what is not carried out, and what cannot be read."""
    message, problems = cluster_pb2.Cluster.FromString(rest), list[str]()
    with bounded_patterns():  # of its own: the next cluster that says the same gets the same, whatever else it says
        terms = ClusterTerms(**cluster_terms.said(message, problems))
    return terms, of_cluster(message), tuple(problems)


_known_terms = lru_cache(maxsize=1024)(_terms)


def _connect_timeout(message: Any) -> float:
    if not message.HasField("connect_timeout"):
        return _CONNECT_TIMEOUT
    said = seconds("connect_timeout", message.connect_timeout)
    if said <= 0:
        raise FieldError("connect_timeout", "must be more than 0 s")
    return min(said, _LONGEST_CONNECT)


def _eds_name(message: Any) -> str:
    """The name that EDS is asked for: "if not specified, the cluster name"."""
    name: str = message.eds_cluster_config.service_name
    return name if name and name != message.name else message.name


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
