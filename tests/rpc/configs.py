"""Target configurations as the mesh would say them, in few words."""

from __future__ import annotations

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
    TransportSocketMatch,
    UpstreamTls,
    VirtualHost,
    WeightedCluster,
)

TARGET = Target("reviews.demo", 9080)
ANY_PATH = PathMatch(PathMatchKind.PREFIX, "/")
AUTO_MTLS = (TransportSocketMatch("tlsMode-istio", (("tlsMode", "istio"),), UpstreamTls()),)
ISTIO = (("tlsMode", "istio"),)


def path(kind, value, **fields):
    return PathMatch(PathMatchKind(kind), value, **fields)


def route(*clusters, match=None, headers=(), name="r", timeout=None, action=None, fraction=None, never=""):
    """Clusters by name, or pairs of name and weight."""
    weighted = tuple(WeightedCluster(*((c, 1) if isinstance(c, str) else c)) for c in clusters)
    return Route(
        name, RouteMatch(match or ANY_PATH, tuple(headers), fraction, never), action or ForwardAction(weighted, timeout)
    )


def host(*routes):
    return VirtualHost("reviews", ("*",), routes)


def endpoint(address, port=9080, **fields):
    return Endpoint(address, port, **fields)


def cluster(name, *endpoints, localities=None, error=None, **fields):
    """A cluster with endpoints of one locality (or localities as given), or with the reason why it has none."""
    if error is not None:
        return ClusterConfig(name, None, None, error)
    if localities is None:
        localities = (LocalityEndpoints(Locality(), 0, 1, endpoints),)
    return ClusterConfig(
        name, Cluster(name, DiscoveryType.EDS, **fields), ClusterLoadAssignment(name, tuple(localities))
    )


def locality(priority, *endpoints):
    return LocalityEndpoints(Locality(zone=f"z{priority}"), priority, 1, endpoints)


def config(*clusters, routes=None):
    virtual_host = host(*(routes or [route(clusters[0].name)]))
    return TargetConfig(TARGET, "reviews.demo.svc.cluster.local", "9080", virtual_host, tuple(clusters))
