"""Clusters as the mesh says them. Frozen values, no behaviour. Field meanings are Envoy's (envoy/config/cluster/v3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from xds_client.model.traffic_policy import NO_CLUSTER_TERMS
from xds_client.model.values import NO_METADATA

if TYPE_CHECKING:
    from xds_client.model.endpoint import ClusterLoadAssignment, Endpoint, Labels
    from xds_client.model.tls import UpstreamTls
    from xds_client.model.traffic_policy import ClusterTerms
    from xds_client.model.values import DeferredMetadata, Metadata


class DiscoveryType(Enum):
    EDS = "EDS"
    STATIC = "STATIC"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL_DST = "ORIGINAL_DST"


class LbPolicy(Enum):
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"
    RANDOM = "RANDOM"
    RING_HASH = "RING_HASH"
    MAGLEV = "MAGLEV"
    CLUSTER_PROVIDED = "CLUSTER_PROVIDED"
    PICK_FIRST = "PICK_FIRST"  # gRPC's own; Envoy has none


@dataclass(frozen=True, slots=True)
class TransportSocketMatch:
    """For endpoints whose ``transport_labels`` contain ``labels`` (first match wins): this TLS, or None = plaintext."""

    name: str
    labels: Labels
    tls: UpstreamTls | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """One CDS resource. ``eds_name`` is what EDS is asked for; times in seconds; ``max_requests`` None = no limit said.
    ``port_override``: what ORIGINAL_DST goes to in place of the port that was dialled; 0: none.

    ``tls`` None: plaintext, unless an entry of ``transport_matches`` fits the endpoint. ``unusable``: why no connection
    may be made, because it would be less secure than the mesh demands; empty: it may. ``left_out``: what else it asks
    for, in Istio's words, and this release does not carry out; ``unread``: what of it cannot be read, and why.
    ``terms``: all that it asks for; how many requests may be under way, and the other port, are told above too, as they
    are obeyed.
    """

    name: str
    discovery: DiscoveryType
    eds_name: str = ""
    lb_policy: LbPolicy = LbPolicy.ROUND_ROBIN
    connect_timeout: float = 5.0
    tls: UpstreamTls | None = None
    transport_matches: tuple[TransportSocketMatch, ...] = ()
    inline_endpoints: ClusterLoadAssignment | None = None
    max_requests: int | None = None
    port_override: int = 0
    unusable: str = ""
    left_out: tuple[str, ...] = ()
    terms: ClusterTerms = NO_CLUSTER_TERMS
    metadata: Metadata | DeferredMetadata = NO_METADATA
    unread: tuple[str, ...] = ()

    def tls_for(self, endpoint: Endpoint) -> UpstreamTls | None:
        """The TLS that this endpoint demands: first match whose labels it carries, else the cluster's own."""
        carried = set(endpoint.transport_labels)
        for match in self.transport_matches:
            if carried.issuperset(match.labels):
                return match.tls
        return self.tls
