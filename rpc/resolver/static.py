"""A target as written: one host, one port, no mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds_client.model import (
    Cluster,
    ClusterConfig,
    ClusterLoadAssignment,
    DiscoveryType,
    Endpoint,
    ForwardAction,
    Locality,
    LocalityEndpoints,
    PathMatch,
    PathMatchKind,
    Route,
    RouteMatch,
    Target,
    TargetConfig,
    VirtualHost,
    WeightedCluster,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.model import TargetMissing

_CONNECT_TIMEOUT = 20.0  # seconds, as gRPC's (grpc/doc/connection-backoff.md, MIN_CONNECT_TIMEOUT)


class StaticResolution:
    """Says one configuration, at once, for ever. Names are resolved when dialling."""

    identity = None

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        on_config(one_endpoint(self._host, self._port))

    def resume(self) -> None:
        """Nothing ever sleeps here."""

    def waiting_for(self) -> str:
        return "nothing"

    def close(self) -> None:
        pass


def one_endpoint(host: str, port: int) -> TargetConfig:
    """All calls go to this endpoint, in plaintext, without a time-out."""
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    route = Route("all", RouteMatch(PathMatch(PathMatchKind.PREFIX, "")), ForwardAction((WeightedCluster(name, 1),)))
    locality = LocalityEndpoints(Locality(), 0, 1, (Endpoint(host, port),))
    cluster = Cluster(name, DiscoveryType.STATIC, connect_timeout=_CONNECT_TIMEOUT)
    return TargetConfig(
        target=Target(f"[{host}]" if ":" in host else host, port),
        host=host,
        route_name=name,
        virtual_host=VirtualHost(name, ("*",), (route,)),
        clusters=(ClusterConfig(name, cluster, ClusterLoadAssignment(name, (locality,))),),
    )
