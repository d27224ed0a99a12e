"""Where a cluster of the mesh can be called by plain HTTP. Told by the exchanger's thread, asked by any."""

from __future__ import annotations

import random
import weakref
from typing import TYPE_CHECKING

from rpc.process_mesh import mesh as process_mesh
from rpc.weakly import weakly
from xds_client.model import HealthStatus, Target, TargetMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xds_client import PilotExchanger
    from xds_client.model import ClusterConfig, TargetConfig

Address = tuple[str, int]
_WELL = frozenset({HealthStatus.UNKNOWN, HealthStatus.HEALTHY})


class NowhereError(Exception):
    """Why nobody can be called."""


class Endpoints:
    """Followed for as long as somebody holds it."""

    def __init__(self, cluster: str, mesh: PilotExchanger | None) -> None:
        self._addresses: Sequence[Address] = ()
        self._why = "the mesh has not told yet where it is"
        observed = mesh if mesh is not None else process_mesh()
        handle = observed.observe_target(Target.of_cluster(cluster), weakly(self._told))
        weakref.finalize(self, handle.close).atexit = False

    def some(self, most: int) -> list[Address]:
        """So many at the most, in any order. Raises `NowhereError`."""
        addresses, why = self._addresses, self._why
        if not addresses:
            raise NowhereError(why)
        return random.sample(addresses, min(most, len(addresses)))

    def _told(self, told: TargetConfig | TargetMissing) -> None:
        if isinstance(told, TargetMissing):
            self._addresses, self._why = (), told.reason
        else:
            self._addresses, self._why = _of(told.clusters[0])


def _of(config: ClusterConfig) -> tuple[Sequence[Address], str]:
    cluster, assignment = config.cluster, config.endpoints
    if cluster is None or assignment is None:
        return (), config.error or "it has no endpoints"
    well = [
        (locality.priority, endpoint)
        for locality in assignment.localities
        for endpoint in locality.endpoints
        if endpoint.health in _WELL
    ]
    first = min((priority for priority, _ in well), default=0)
    wanted = [endpoint for priority, endpoint in well if priority == first]
    plain = tuple((e.address, e.port) for e in wanted if cluster.tls_for(e) is None)
    if wanted and not plain:
        return (), "its endpoints demand TLS, and services that are asked by HTTP are called in plaintext only"
    return plain, "it has no endpoints"
