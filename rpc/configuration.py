"""What a channel works from, whoever told it: pools with their endpoints, and rules that choose among them."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from rpc.balancing.policies import known, named
from rpc.errors import listed
from rpc.resolver.values import Resolved, Unresolved
from rpc.resolver.values import Route as ToldRoute
from rpc.routing import RouteTable
from xds_client.model import (
    Cluster,
    ClusterConfig,
    ClusterLoadAssignment,
    DiscoveryType,
    Endpoint,
    ForwardAction,
    HeaderMatch,
    LbPolicy,
    Locality,
    LocalityEndpoints,
    PathMatch,
    PathMatchKind,
    Route,
    RouteMatch,
    StringMatch,
    StringMatchKind,
    TargetConfig,
    TargetMissing,
    VirtualHost,
    WeightedCluster,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rpc.choice import Rules
    from rpc.resolver.values import Pool, Told

_log = logging.getLogger(f"proxyless.{__name__}")
_MAX_PORT = 65535
_MAX_WEIGHT = 2**32 - 1  # as Envoy's, whose sums the pickers are made for


class UnusableError(ValueError):
    """What a resolver told makes no sense; says why, and what would."""


class Configuration(NamedTuple):
    """``policies``: by which name of `PICKERS` a cluster is picked from, where it is not the cluster's own policy."""

    authority: str
    host: str
    clusters: tuple[ClusterConfig, ...]
    rules: Rules
    never: frozenset[str] = frozenset()
    policies: Mapping[str, LbPolicy | str] = MappingProxyType({})


def configuration_of(told: Told) -> Configuration | Unresolved:
    """Raises `UnusableError`, and `InvalidPatternError` for a mesh's route."""
    match told:
        case TargetConfig():
            table = RouteTable(told.virtual_host)
            return Configuration(str(told.target), told.host, told.clusters, table, table.never)
        case TargetMissing() | Unresolved():
            return Unresolved(told.reason)
        case Resolved():
            return _resolved(told)
    raise UnusableError(f"{told!r:.200} is none of rpc.resolver.Resolved and rpc.resolver.Unresolved")


def _resolved(told: Resolved) -> Configuration:
    names = [pool.name for pool in told.pools]
    if not names:
        raise UnusableError(
            "it has no pool; a target that has no endpoints is told as a pool without, or as Unresolved"
        )
    if len(set(names)) < len(names):
        raise UnusableError(f"two of its pools have one name: {listed(sorted(names))}")
    host = told.host or urlsplit(f"//{told.authority}").hostname or told.authority
    routes = told.routes or (ToldRoute(((names[0], 1),)),)
    rules = told.rules if told.rules is not None else _table(routes, names)
    policies = {pool.name: policy for pool in told.pools if (policy := named(pool.balancing)) is not None}
    return Configuration(told.authority, host, tuple(_cluster(pool) for pool in told.pools), rules, policies=policies)


def _table(routes: Iterable[ToldRoute], names: list[str]) -> RouteTable:
    routes = tuple(routes)
    for route in routes:
        unknown = sorted({name for name, _ in route.pools} - set(names))
        if unknown:
            raise UnusableError(
                f"route {route.name!r} leads to {unknown[0]!r}, and there is no such pool: {listed(names)}"
            )
        weights = [weight for _, weight in route.pools]
        if not all(isinstance(weight, int) and 0 <= weight <= _MAX_WEIGHT for weight in weights) or not sum(weights):
            raise UnusableError(f"route {route.name!r} has no pool of a weight over 0: {route.pools!r:.200}")
    virtual_host = VirtualHost("resolved", ("*",), tuple(_route(route) for route in routes))
    return RouteTable(virtual_host, tuple(route.terms for route in routes))


def _route(route: ToldRoute) -> Route:
    prefix = PathMatch(PathMatchKind.PREFIX, route.prefix)
    path = prefix if route.path is None else PathMatch(PathMatchKind.EXACT, route.path)
    headers = (HeaderMatch(name, StringMatch(StringMatchKind.EXACT, value)) for name, value in route.headers)
    clusters = tuple(WeightedCluster(name, weight) for name, weight in route.pools)
    return Route(route.name, RouteMatch(path, tuple(headers)), ForwardAction(clusters))


def _cluster(pool: Pool) -> ClusterConfig:
    """A bad endpoint costs itself; a pool without a good one, its calls."""
    name = pool.name
    if named(pool.balancing) is None:
        names = ", ".join(sorted(known()))
        why = f"balancing policy {pool.balancing!r} is not registered (rpc.balancing.register); known are {names}"
        return ClusterConfig(name, None, None, f"cluster {name}: {why}")
    groups = (pool.endpoints, *pool.backups)
    bad = [why for group in groups for endpoint in group if (why := _wrong(endpoint))]
    if bad:
        _log.warning("cluster %s: left out: %s", name, listed(bad))
    good = [tuple(endpoint for endpoint in group if not _wrong(endpoint)) for group in groups]
    if bad and not any(good):
        return ClusterConfig(name, None, None, f"cluster {name}: none of its endpoints makes sense: {listed(bad)}")
    localities = tuple(_localities(good))
    cluster = Cluster(name, DiscoveryType.STATIC, connect_timeout=pool.connect_timeout, tls=pool.tls)
    return ClusterConfig(name, cluster, ClusterLoadAssignment(name, localities))


def _localities(groups: Iterable[tuple[Endpoint, ...]]) -> Iterator[LocalityEndpoints]:
    for priority, endpoints in enumerate(groups):
        yield LocalityEndpoints(Locality(), priority, 1, endpoints)


def _wrong(endpoint: object) -> str:
    if not isinstance(endpoint, Endpoint):
        return f"{endpoint!r:.100} is no rpc.resolver.Endpoint"
    address, port, weight = endpoint.address, endpoint.port, endpoint.weight
    if not isinstance(address, str) or not address or any(c < " " or c == "\x7f" for c in address):
        return f"{address!r:.100} is no address"
    if " " in address and not address.startswith("unix"):  # a file's name may have one
        return f"{address!r:.100} is no address"
    if not isinstance(port, int) or not (0 < port <= _MAX_PORT or (port == 0 and address.startswith("unix"))):
        return f"{address}: {port!r:.20} is no port (1 to {_MAX_PORT})"
    if not isinstance(weight, int) or not 0 < weight <= _MAX_WEIGHT:
        return f"{address}:{port}: {weight!r:.20} is no weight (1 to {_MAX_WEIGHT})"
    return ""
