"""What calls work from: one `Configuration`, its endpoints bound to subchannels and its rules to pools of them.

Immutable; a new configuration makes a new snapshot and one reference is swapped (design: no lock on the call path).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rpc.balancing import PICKERS, BalancedCluster, Endpoint, Level
from rpc.errors import listed
from rpc.security import SecurityError
from rpc.transport import SubchannelKey
from xds_client.model import HealthStatus, LbPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpc.configuration import Configuration
    from rpc.security import Protection, Security
    from rpc.transport import Subchannel
    from xds_client.model import ClusterConfig, Locality, UpstreamTls
    from xds_client.model import Endpoint as EndpointConfig

_log = logging.getLogger(f"proxyless.{__name__}")
_USABLE = {HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED}


class Placed(NamedTuple):
    """An endpoint, and what it is called by."""

    config: EndpointConfig
    locality: Locality
    priority: int
    key: SubchannelKey


@dataclass(frozen=True, slots=True)
class Placement:
    """A cluster's usable endpoints. ``refused``: those not to be called, and why. ``policy``: how one is picked."""

    config: ClusterConfig
    policy: LbPolicy | str = LbPolicy.ROUND_ROBIN
    places: tuple[Placed, ...] = ()
    refused: tuple[str, ...] = ()


def place(configuration: Configuration, protection: Protection) -> tuple[Placement, ...]:
    """What each endpoint of the configuration is called by, and how protected."""
    return tuple(_place(configuration, cluster, protection) for cluster in configuration.clusters)


def _place(configuration: Configuration, config: ClusterConfig, protection: Protection) -> Placement:
    cluster = config.cluster
    if cluster is None or config.endpoints is None:
        return Placement(config)
    places: list[Placed] = []
    refused: list[str] = []
    securities: dict[UpstreamTls | None, Security | None] = {}
    for locality in config.endpoints.localities:
        for endpoint in locality.endpoints:
            if endpoint.health not in _USABLE:
                continue
            tls = cluster.tls_for(endpoint)
            try:
                if tls not in securities:
                    securities[tls] = protection.of(tls, configuration.host)
            except SecurityError as error:
                refused.append(f"{endpoint.address}:{endpoint.port} {error}")
                continue
            key = SubchannelKey(endpoint.address, endpoint.port, securities[tls])
            places.append(Placed(endpoint, locality.locality, locality.priority, key))
    policy = configuration.policies.get(config.name, cluster.lb_policy)
    return Placement(config, policy, tuple(places), tuple(refused))


def keys(placements: Iterable[Placement]) -> dict[SubchannelKey, float]:
    """The subchannels that the configuration needs, each with its connect time-out in seconds."""
    wanted: dict[SubchannelKey, float] = {}
    for placement in placements:
        for placed in placement.places:
            assert placement.config.cluster is not None
            wanted[placed.key] = placement.config.cluster.connect_timeout
    return wanted


# The endpoints of the configuration before: one cluster may have several of one address.
Known = Mapping[tuple[str, SubchannelKey], list[Endpoint]]


def _cluster(
    placement: Placement, subchannels: Mapping[SubchannelKey, Subchannel], known: Known, clock: Callable[[], float]
) -> BalancedCluster:
    name, cluster = placement.config.name, placement.config.cluster
    if cluster is None or placement.config.endpoints is None:
        return BalancedCluster(name, error=placement.config.error or f"cluster {name} has no configuration")
    refusal = f"cluster {name}: {listed(placement.refused)}"
    if placement.refused:
        _log.warning("%s", refusal)
    if not placement.places:
        nobody = refusal if placement.refused else f"cluster {name} has no healthy endpoint"
        return BalancedCluster(name, error=nobody)
    by_priority: dict[int, list[Endpoint]] = {}
    for placed in placement.places:
        endpoint = _endpoint(placed, subchannels[placed.key], known.get((name, placed.key), []))
        by_priority.setdefault(placed.priority, []).append(endpoint)
    policy = placement.policy
    one_by_one = policy is LbPolicy.PICK_FIRST
    levels = [
        Level(by_priority[level], PICKERS[policy], one_by_one=one_by_one, clock=clock) for level in sorted(by_priority)
    ]
    return BalancedCluster(name, levels)


def _endpoint(placed: Placed, subchannel: Subchannel, before: list[Endpoint]) -> Endpoint:
    told = (placed.config, placed.locality, placed.priority, subchannel)
    for place, one in enumerate(before):
        if (one.config, one.locality, one.priority, one.subchannel) == told:
            return before.pop(place)
    return Endpoint(*told)


class Snapshot:
    """``choose`` answers a request head with one `Choice`. ``authority`` is what requests say as ``:authority``."""

    __slots__ = ("_rules", "authority", "choose", "clusters")

    def __init__(
        self,
        configuration: Configuration,
        placements: Iterable[Placement],
        subchannels: Mapping[SubchannelKey, Subchannel],
        authority: str | None = None,
        before: Snapshot | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``before``: whose endpoints are kept where they are the same."""
        self.authority = authority or configuration.authority
        self._rules = configuration.rules
        clusters = before.clusters.items() if before is not None else ()
        known: dict[tuple[str, SubchannelKey], list[Endpoint]] = {}
        for name, cluster in clusters:
            for endpoint in cluster.endpoints:
                known.setdefault((name, endpoint.subchannel.key), []).append(endpoint)
        self.clusters: dict[str, BalancedCluster] = {}
        for placement in placements:
            self.clusters[placement.config.name] = _cluster(placement, subchannels, known, clock)
        self.choose = self._rules.bind(self.clusters)

    def forget_counts(self) -> None:
        """What was counted of endpoints is another process's."""
        self.clusters = {name: cluster.anew() for name, cluster in self.clusters.items()}
        self.choose = self._rules.bind(self.clusters)
