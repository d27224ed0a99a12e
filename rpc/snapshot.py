"""What calls work from: one `TargetConfig` with its routes compiled and its endpoints bound to connections.

Immutable; a new configuration makes a new snapshot and one reference is swapped (design: no lock on the call path).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.errors import listed
from rpc.picking import Picker, PickFirst, Random, RoundRobin
from rpc.security import SecurityError
from rpc.transport import Connection, ConnectionKey
from xds_client.model import HealthStatus, LbPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rpc.routing import RouteTable
    from rpc.security import Protection, Security
    from xds_client.model import Cluster, ClusterConfig, TargetConfig, UpstreamTls

_log = logging.getLogger(f"proxyless.{__name__}")
_USABLE = {HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED}


@dataclass(frozen=True, slots=True)
class Placement:
    """A cluster's usable endpoints: priority, connection, weight. ``refused``: those not to be called, and why."""

    config: ClusterConfig
    members: tuple[tuple[int, ConnectionKey, int], ...] = ()
    refused: tuple[str, ...] = ()


def place(config: TargetConfig, protection: Protection) -> tuple[Placement, ...]:
    """What each endpoint of the configuration is called by, and how protected."""
    return tuple(_place(cluster, protection, config.host) for cluster in config.clusters)


def _place(config: ClusterConfig, protection: Protection, host: str) -> Placement:
    cluster = config.cluster
    if cluster is None or config.endpoints is None:
        return Placement(config)
    members: list[tuple[int, ConnectionKey, int]] = []
    refused: list[str] = []
    securities: dict[UpstreamTls | None, Security | None] = {}
    for locality in config.endpoints.localities:
        for endpoint in locality.endpoints:
            if endpoint.health not in _USABLE:
                continue
            tls = cluster.tls_for(endpoint)
            try:
                if tls not in securities:
                    securities[tls] = protection.of(tls, host)
            except SecurityError as error:
                refused.append(f"{endpoint.address}:{endpoint.port} {error}")
                continue
            key = ConnectionKey(endpoint.address, endpoint.port, securities[tls])
            members.append((locality.priority, key, endpoint.weight))
    return Placement(config, tuple(members), tuple(refused))


def keys(placements: Iterable[Placement]) -> dict[ConnectionKey, float]:
    """The connections that the configuration needs, each with its connect time-out in seconds."""
    wanted: dict[ConnectionKey, float] = {}
    for placement in placements:
        for _, key, _ in placement.members:
            assert placement.config.cluster is not None
            wanted[key] = placement.config.cluster.connect_timeout
    return wanted


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A cluster's pickers, one per priority, best first; or ``error``: why no call can go there."""

    name: str
    pickers: tuple[Picker[Connection], ...]
    members: frozenset[Connection] = frozenset()
    error: str | None = None

    def next(self) -> tuple[Connection | None, Connection | None]:
        """A connection that can take a call now, and one that is better placed but has to be dialled first.

        The second lets an endpoint that was never tried, or whose back-off is over, come (back) into rotation.
        """
        waiting: Connection | None = None
        for picker in self.pickers:
            for connection in picker.candidates():
                if connection.link is not None:
                    return connection, waiting
                if waiting is None and connection.idle:
                    waiting = connection
        return None, waiting

    def connections(self) -> frozenset[Connection]:
        return self.members


def _cluster(placement: Placement, connections: Mapping[ConnectionKey, Connection]) -> ClusterSnapshot:
    name, cluster = placement.config.name, placement.config.cluster
    if cluster is None or placement.config.endpoints is None:
        return ClusterSnapshot(name, (), error=placement.config.error or f"cluster {name} has no configuration")
    refusal = f"cluster {name}: {listed(placement.refused)}"
    if placement.refused:
        _log.warning("%s", refusal)
    if not placement.members:
        nobody = refusal if placement.refused else f"cluster {name} has no healthy endpoint"
        return ClusterSnapshot(name, (), error=nobody)
    by_priority: dict[int, list[tuple[Connection, int]]] = {}
    for priority, key, weight in placement.members:
        by_priority.setdefault(priority, []).append((connections[key], weight))
    pickers = tuple(_picker(cluster, by_priority[priority]) for priority in sorted(by_priority))
    return ClusterSnapshot(name, pickers, frozenset(connections[key] for _, key, _ in placement.members))


def _picker(cluster: Cluster, members: list[tuple[Connection, int]]) -> Picker[Connection]:
    connections = [connection for connection, _ in members]
    weights = [weight for _, weight in members]
    if cluster.lb_policy is LbPolicy.RANDOM:
        return Random(connections, weights)
    if cluster.lb_policy is LbPolicy.PICK_FIRST:
        return PickFirst(connections)
    # LEAST_REQUEST, RING_HASH and MAGLEV are approximated by round robin until their issue (docs/compatibility.md).
    return RoundRobin(connections, weights)


class Snapshot:
    """``authority`` is what requests say as ``:authority``; routes see it too."""

    __slots__ = ("authority", "clusters", "config", "table")

    def __init__(
        self,
        config: TargetConfig,
        table: RouteTable,
        placements: Iterable[Placement],
        connections: Mapping[ConnectionKey, Connection],
        authority: str | None = None,
    ) -> None:
        self.config = config
        self.authority = authority or str(config.target)
        self.table = table
        self.clusters = {placement.config.name: _cluster(placement, connections) for placement in placements}
