"""Whether a chain that ends in HTTP or in bytes passes on all that comes, to the port behind it. Pure functions.

That is all that is done here, so whatever would turn some calls away (a route that answers itself or redirects, a host
that nobody has, routes that come later) is an `UnsupportedError`: its chain is closed.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.router.v3 import router_pb2  # type: ignore[import-untyped]

from xds_client.decode.fields import UnsupportedError, each, inside, refuse_unknown_fields

# Where istiod sends what nobody may have (pilot/pkg/networking/util BlackHoleCluster).
_BLACK_HOLE = "BlackHoleCluster"
# What it calls the ports behind a sidecar (pilot/pkg/model BuildInboundSubsetKey), and those nobody has declared; the
# older releases had one of these for each family of addresses.
_PORTS = "inbound|"
_UNDECLARED = ("InboundPassthroughCluster", "InboundPassthroughClusterIpv4", "InboundPassthroughClusterIpv6")


def refuse_unless_http_is_passed_on(manager: Any) -> None:
    """An HttpConnectionManager: a router, and a virtual host for every name each of whose routes leads to a port."""
    for field in ("http_filters", "upgrade_configs"):
        each(field, refuse_unknown_fields, getattr(manager, field))
    if not any(said.typed_config.Is(router_pb2.Router.DESCRIPTOR) for said in manager.http_filters):
        raise UnsupportedError("http_filters", "none of them is a router, so no call comes through")
    routes = manager.WhichOneof("route_specifier")
    if routes != "route_config":
        reason = (
            "is missing, so no call comes through" if routes is None else "inbound routes of their own are not asked"
        )
        raise UnsupportedError(routes or "route_config", reason)
    inside("route_config", _table, manager.route_config)


def refuse_unless_bytes_are_passed_on(proxy: Any) -> None:
    """A TcpProxy."""
    _to_a_port(proxy)


def _table(table: Any) -> None:
    refuse_unknown_fields(table)
    if table.HasField("vhds"):
        raise UnsupportedError("vhds", "inbound routes of their own are not asked")
    each("virtual_hosts", _virtual_host, table.virtual_hosts)
    if not any("*" in host.domains for host in table.virtual_hosts):
        raise UnsupportedError("virtual_hosts", "none is for every name, which turns some calls away")


def _virtual_host(host: Any) -> None:
    if host.HasField("matcher"):
        raise UnsupportedError("matcher", "generic matching trees are not supported")
    if host.require_tls != host.NONE:
        raise UnsupportedError("require_tls", "is not carried out for inbound calls")
    each("routes", _route, host.routes)
    if not host.routes or host.routes[-1].match != route_components_pb2.RouteMatch(prefix="/"):
        raise UnsupportedError("routes", "the last is not for every call, which turns some away")


def _route(route: Any) -> None:
    kind = route.WhichOneof("action")
    if kind != "route":
        raise UnsupportedError(kind or "action", "is not carried out for inbound calls")
    inside("route", _to_a_port, route.route)


def _to_a_port(message: Any) -> None:
    """A TcpProxy or a RouteAction; both say it alike."""
    kind = message.WhichOneof("cluster_specifier")
    if kind == "cluster":
        _cluster(kind, message.cluster)
    elif kind == "weighted_clusters" and message.weighted_clusters.clusters:
        for number, weighted in enumerate(message.weighted_clusters.clusters):
            _cluster(f"{kind}.clusters[{number}].name", weighted.name)
    else:
        raise UnsupportedError(kind or "cluster", "does not say which port is meant")


def _cluster(field: str, name: str) -> None:
    if name == _BLACK_HOLE:
        raise UnsupportedError(field, f"{_BLACK_HOLE} drops every connection")
    if not name.startswith(_PORTS) and name not in _UNDECLARED:
        raise UnsupportedError(field, f"{name!r} is not a port of this workload")
