"""Targets as written: their endpoints, and no mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds_client.model import (
    Cluster,
    ClusterConfig,
    ClusterLoadAssignment,
    DiscoveryType,
    Endpoint,
    ForwardAction,
    LbPolicy,
    Locality,
    LocalityEndpoints,
    PathMatch,
    PathMatchKind,
    Route,
    RouteMatch,
    Target,
    TargetConfig,
    TargetMissing,
    VirtualHost,
    WeightedCluster,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CONNECT_TIMEOUT = 20.0  # seconds, as gRPC's (grpc/doc/connection-backoff.md, MIN_CONNECT_TIMEOUT)


class StaticResolution:
    """Says one configuration, at once, for ever. Names are resolved when dialling."""

    identity = None
    refresh = None  # nothing ever changes

    def __init__(
        self,
        name: str,
        endpoints: Sequence[Endpoint],
        policy: LbPolicy,
        host: str,
        port: int,
        authority: str | None = None,
    ) -> None:
        """``name`` as messages say it; ``host`` and ``port`` are who is meant to answer: the ``authority``, else."""
        self.authority = authority
        self._config: TargetConfig | TargetMissing = endpoints_config(name, endpoints, policy, host, port)

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        on_config(self._config)

    def resume(self) -> None:
        """Nothing ever sleeps here."""

    def waiting_for(self) -> str:
        return "nothing"

    def close(self) -> None:
        pass


class NowhereResolution(StaticResolution):
    """A target that says nothing: calls fail, and not the making of the channel, as in grpcio.

    Clients that are generated make channels for no target, and throw them away.
    """

    def __init__(self) -> None:
        self.authority = None
        self._config = TargetMissing(Target("", 0), "the channel's target is empty; it is written host:port")


def written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def endpoints_config(name: str, endpoints: Sequence[Endpoint], policy: LbPolicy, host: str, port: int) -> TargetConfig:
    """All calls go to these endpoints, in plaintext, without a time-out."""
    route = Route("all", RouteMatch(PathMatch(PathMatchKind.PREFIX, "")), ForwardAction((WeightedCluster(name, 1),)))
    locality = LocalityEndpoints(Locality(), 0, 1, tuple(endpoints))
    cluster = Cluster(name, DiscoveryType.STATIC, connect_timeout=_CONNECT_TIMEOUT, lb_policy=policy)
    return TargetConfig(
        target=Target(f"[{host}]" if ":" in host else host, port),
        host=host,
        route_name=name,
        virtual_host=VirtualHost(name, ("*",), (route,)),
        clusters=(ClusterConfig(name, cluster, ClusterLoadAssignment(name, (locality,))),),
    )
