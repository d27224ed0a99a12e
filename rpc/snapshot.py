"""What calls work from: one `TargetConfig` with its routes compiled and its endpoints bound to connections.

Immutable; a new configuration makes a new snapshot and one reference is swapped (design: no lock on the call path).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.picking import Picker, Random, RoundRobin
from rpc.transport import Connection, ConnectionKey
from xds_client.model import HealthStatus, LbPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rpc.routing import RouteTable
    from xds_client.model import Cluster, ClusterConfig, Endpoint, TargetConfig

_log = logging.getLogger(__name__)
_USABLE = {HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED}


def keys(config: TargetConfig) -> dict[ConnectionKey, float]:
    """The connections that the configuration needs, each with its connect time-out in seconds."""
    wanted: dict[ConnectionKey, float] = {}
    for cluster_config in config.clusters:
        cluster = cluster_config.cluster
        for endpoint in _endpoints(cluster_config):
            if cluster is not None and cluster.tls_for(endpoint) is None:
                wanted[ConnectionKey(endpoint.address, endpoint.port)] = cluster.connect_timeout
    return wanted


def _endpoints(config: ClusterConfig) -> Iterator[Endpoint]:
    for locality in config.endpoints.localities if config.endpoints else ():
        yield from (endpoint for endpoint in locality.endpoints if endpoint.health in _USABLE)


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A cluster's pickers, one per priority, best first; or ``error``: why no call can go there."""

    name: str
    pickers: tuple[Picker[Connection], ...]
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

    def connections(self) -> set[Connection]:
        return {connection for picker in self.pickers for connection in picker.candidates()}


def _cluster(config: ClusterConfig, connections: Mapping[ConnectionKey, Connection]) -> ClusterSnapshot:
    cluster = config.cluster
    if cluster is None or config.endpoints is None:
        return ClusterSnapshot(config.name, (), config.error or f"cluster {config.name} has no configuration")
    refused: list[str] = []
    by_priority: dict[int, list[tuple[Connection, int]]] = {}
    for locality in config.endpoints.localities:
        for endpoint in locality.endpoints:
            if endpoint.health not in _USABLE:
                continue
            if cluster.tls_for(endpoint) is not None:
                refused.append(f"{endpoint.address}:{endpoint.port}")
                continue
            connection = connections[ConnectionKey(endpoint.address, endpoint.port)]
            by_priority.setdefault(locality.priority, []).append((connection, endpoint.weight))
    if refused:
        _log.warning("%s", _refusal(config.name, refused))
    if not by_priority:
        error = _refusal(config.name, refused) if refused else f"cluster {config.name} has no healthy endpoint"
        return ClusterSnapshot(config.name, (), error)
    pickers = tuple(_picker(cluster, by_priority[priority]) for priority in sorted(by_priority))
    return ClusterSnapshot(config.name, pickers)


def _refusal(cluster: str, endpoints: list[str]) -> str:
    return (
        f"cluster {cluster}: {', '.join(endpoints)} must be called over mutual TLS, which this release does not speak; "
        "nothing is sent there in plaintext"
    )


def _picker(cluster: Cluster, members: list[tuple[Connection, int]]) -> Picker[Connection]:
    connections = [connection for connection, _ in members]
    weights = [weight for _, weight in members]
    if cluster.lb_policy is LbPolicy.RANDOM:
        return Random(connections, weights)
    # LEAST_REQUEST, RING_HASH and MAGLEV are approximated by round robin until their issue (docs/compatibility.md).
    return RoundRobin(connections, weights)


class Snapshot:
    """``authority`` is what requests say as ``:authority``; routes see it too."""

    __slots__ = ("authority", "clusters", "config", "table")

    def __init__(
        self, config: TargetConfig, table: RouteTable, connections: Mapping[ConnectionKey, Connection]
    ) -> None:
        self.config = config
        self.authority = str(config.target)
        self.table = table
        self.clusters = {cluster.name: _cluster(cluster, connections) for cluster in config.clusters}
