"""What a channel works from: one target joined whole. Frozen values; equal means nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.cluster import Cluster, ClusterLoadAssignment
    from xds_client.model.route import VirtualHost
    from xds_client.model.target import Target


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster joined with its endpoints, or the reason why it cannot be used (then the rest is None)."""

    name: str
    cluster: Cluster | None
    endpoints: ClusterLoadAssignment | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """Everything a call to the target needs. ``host`` is the FQDN that answered; clusters are sorted by name."""

    target: Target
    host: str
    route_name: str
    virtual_host: VirtualHost
    clusters: tuple[ClusterConfig, ...]


@dataclass(frozen=True, slots=True)
class TargetMissing:
    """The control plane answered that it knows no such target; ``reason`` names host, answer and asking node."""

    target: Target
    reason: str
