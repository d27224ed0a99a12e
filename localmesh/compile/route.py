"""RouteConfigurations on demand: ``FQDN:port`` to the one virtual host that a VirtualService, or its absence, makes.

Follows istiod's `BuildSidecarOutboundVirtualHosts` and `BuildHTTPRoutesForVirtualService`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.cluster import cluster_name
from localmesh.compile.hosts import HostTable, fully_qualified
from localmesh.compile.match import describe_path, is_catch_all, route_match
from localmesh.compile.registry import has_routes
from localmesh.compile.route_action import (
    apply_headers,
    cors_filter,
    direct_response_action,
    fault_filter,
    hash_policy,
    mirror_policy,
    redirect_action,
    retry_policy,
    set_timeout,
)
from localmesh.config.mesh_config import OutboundMode
from localmesh.config.virtual_service import MESH_GATEWAY, RouteDestination, VirtualService

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localmesh.compile.policy import Rule, Rules
    from localmesh.compile.registry import Registry
    from localmesh.compile.view import View
    from localmesh.config import Resource, Resources
    from localmesh.config.destination_rule import ConsistentHash
    from localmesh.config.virtual_service import Destination, HttpMatch, HttpRoute

_HTTP_PORT = 80
_BAD_GATEWAY = 502
_MAX_DIRECT_RESPONSE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RouteScope:
    """For whom and for which port routes are made."""

    registry: Registry
    rules: Rules
    view: View
    port: int
    domain: str

    def rule_for(self, host: str) -> Rule | None:
        service = self.registry.service(host, self.view.namespace)
        return self.rules.for_host(host, service.namespace if service else "", self.view.namespace)


class VirtualServices:
    """VirtualServices of the mesh gateway by host; of two for one host the first wins."""

    def __init__(self, resources: Resources, domain: str) -> None:
        self._by_host: HostTable[Resource[VirtualService]] = HostTable()
        for resource in resources.virtual_services:
            if resource.spec.applies_to_mesh:
                for host in resource.spec.hosts:
                    name = fully_qualified(host, resource.namespace, domain).lower()
                    if self._by_host.written(name) is None:
                        self._by_host[name] = resource

    @property
    def hosts(self) -> Iterable[str]:
        return self._by_host

    def for_host(self, host: str) -> Resource[VirtualService] | None:
        return self._by_host.most_specific(host)


def route_configuration(
    name: str, virtual_services: VirtualServices, scope: RouteScope
) -> xds.route.RouteConfiguration:
    """What istiod answers to an on-demand name; without virtual hosts for unknown hosts and TCP ports."""
    host = name.rpartition(":")[0].lower()
    out = _table(name)
    out.virtual_hosts.extend(_virtual_hosts(host, ["*"], virtual_services, scope))
    return out


def port_table(
    name: str, virtual_services: VirtualServices, scope: RouteScope, unknown: OutboundMode
) -> xds.route.RouteConfiguration:
    """All hosts of the port, and what becomes of the others. A sidecar finds there what only wildcards cover."""
    out = _table(name)
    services = [
        service.hostname for service in scope.registry.services(scope.view.namespace) if has_routes(service, scope.port)
    ]
    for host in sorted({*virtual_services.hosts, *services}):
        out.virtual_hosts.extend(_virtual_hosts(host, _domains(host, scope), virtual_services, scope))
    out.virtual_hosts.append(_unknown_hosts(unknown))
    return out


def _table(name: str) -> xds.route.RouteConfiguration:
    return xds.route.RouteConfiguration(
        name=name,
        validate_clusters={"value": False},
        max_direct_response_body_size_bytes={"value": _MAX_DIRECT_RESPONSE},
        ignore_port_in_host_matching=True,
    )


def _virtual_hosts(
    host: str, domains: list[str], virtual_services: VirtualServices, scope: RouteScope
) -> list[xds.route.VirtualHost]:
    """The host's, or none."""
    routes = _routes_for(host, virtual_services, scope)
    if not routes:
        return []
    virtual_host = xds.route.VirtualHost(name=f"{host}:{scope.port}", domains=domains, routes=routes)
    virtual_host.include_request_attempt_count = True
    return [virtual_host]


def _domains(host: str, scope: RouteScope) -> list[str]:
    """The host, and the short names that Kubernetes' DNS knows it by from where the node is; its pods' names, too."""
    service = scope.registry.service(host, scope.view.namespace)
    if service is None:
        return [host]
    names = [host, f"{host}."]
    short, _, suffix = host.partition(f".svc.{scope.domain}")
    name, dot, namespace = short.partition(".")
    if not suffix and dot and short != host:
        own = namespace == scope.view.namespace
        names += [name, f"{short}.svc", short] if own else [short, f"{short}.svc"]
    if service.headless:
        names += [f"*.{name}" for name in names]
    return names


def _unknown_hosts(mode: OutboundMode) -> xds.route.VirtualHost:
    """`buildCatchAllVirtualHost`."""
    name = "allow_any" if mode is OutboundMode.ALLOW_ANY else "block_all"
    route = xds.route.Route(name=name, match=route_match(None))
    if mode is OutboundMode.ALLOW_ANY:
        route.route.cluster = "PassthroughCluster"
        set_timeout(route.route, None)
    else:
        route.direct_response.status = _BAD_GATEWAY
    return xds.route.VirtualHost(name=name, domains=["*"], routes=[route], include_request_attempt_count=True)


def _routes_for(host: str, virtual_services: VirtualServices, scope: RouteScope) -> list[xds.route.Route]:
    service = scope.registry.service(host, scope.view.namespace)
    resource = virtual_services.for_host(host)
    if service is None or service.port(scope.port) is None:
        # istiod: hosts that only a VirtualService names exist on port 80, and beside its other hosts that are services
        if resource is None or not (scope.port == _HTTP_PORT or _has_service(resource, scope)):
            return []
        hosts = (fully_qualified(name, resource.namespace, scope.domain).lower() for name in resource.spec.hosts)
        return list(_routes(resource, scope)) if host in hosts else []
    if not has_routes(service, scope.port):
        return []
    routes = list(_routes(resource, scope)) if resource is not None else []
    return routes or [_default_route(host, scope)]


def _has_service(resource: Resource[VirtualService], scope: RouteScope) -> bool:
    hosts = (fully_qualified(host, resource.namespace, scope.domain) for host in resource.spec.hosts)
    services = (scope.registry.service(host, scope.view.namespace) for host in hosts)
    return any(service is not None and has_routes(service, scope.port) for service in services)


def unknown_route_configuration(name: str) -> xds.route.RouteConfiguration:
    """The answer to a name that is no ``FQDN:port``."""
    return xds.route.RouteConfiguration(name=name, validate_clusters={"value": False})


def _default_route(host: str, scope: RouteScope) -> xds.route.Route:
    rule = scope.rule_for(host)
    action = xds.route.RouteAction(
        cluster=cluster_name(scope.port, "", host),
        retry_policy=retry_policy(None, keeps_host=False),
        hash_policy=hash_policy(rule.hash_for(scope.port, "") if rule else None),
    )
    set_timeout(action, None)
    decorator = xds.route.Decorator(operation=f"{host}:{scope.port}/*")
    return xds.route.Route(name="default", match=route_match(None), route=action, decorator=decorator)


def _routes(resource: Resource[VirtualService], scope: RouteScope) -> Iterator[xds.route.Route]:
    """One route per match, up to the first that catches everything."""
    for http in resource.spec.http:
        for match in http.match:
            if not _is_for(match, scope):
                continue
            route = _route(resource, http, match, scope)
            yield route
            if is_catch_all(route.match):
                return
        if not http.match:
            yield _route(resource, http, None, scope)
            return


def _is_for(match: HttpMatch, scope: RouteScope) -> bool:
    """`sourceMatchHTTP`: gateways, when listed, decide alone."""
    if match.port not in (0, scope.port):
        return False
    if match.gateways:
        return MESH_GATEWAY in match.gateways
    labels = match.source_labels.items() <= dict(scope.view.labels).items()
    return labels and match.source_namespace in ("", scope.view.namespace)


def _route(
    resource: Resource[VirtualService], http: HttpRoute, match: HttpMatch | None, scope: RouteScope
) -> xds.route.Route:
    config = f"/apis/networking.istio.io/v1/namespaces/{resource.namespace}/virtual-service/{resource.name}"
    out = xds.route.Route(
        name=f"{http.name}.{match.name}" if match and match.name else http.name,
        match=route_match(match),
        metadata=xds.istio_metadata({"config": config}),
        stat_prefix=match.stat_prefix if match else "",
    )
    authority = apply_headers(out, http.headers) if http.headers is not None else ""
    if http.redirect is not None:
        out.redirect.CopyFrom(redirect_action(http.redirect))
    elif http.direct_response is not None:
        out.direct_response.CopyFrom(direct_response_action(http.direct_response))
    else:
        out.route.CopyFrom(_Forwarding(out, http, resource.namespace, scope).action(authority))
    if http.fault is not None:
        out.typed_per_filter_config["envoy.filters.http.fault"].CopyFrom(xds.any_of(fault_filter(http.fault)))
    if http.cors_policy is not None:
        out.typed_per_filter_config["envoy.filters.http.cors"].CopyFrom(xds.any_of(cors_filter(http.cors_policy)))
    # one destination: its host and port; several, or none: the VirtualService's name (GetRouteOperation)
    where = f"{resource.name}:{scope.port}"
    if out.route.HasField("cluster"):
        _, port, _, host = out.route.cluster.split("|")
        where = f"{host}:{port}"
    out.decorator.operation = where + describe_path(out.match)
    return out


@dataclass(frozen=True, slots=True)
class _Forwarding:
    """Builds the RouteAction of one route (`applyHTTPRouteDestination`)."""

    out: xds.route.Route
    http: HttpRoute
    namespace: str
    scope: RouteScope

    def action(self, authority: str) -> xds.route.RouteAction:
        action = xds.route.RouteAction()
        set_timeout(action, self.http.timeout)
        authority = self._rewrite(action) or authority
        if authority:
            action.host_rewrite_literal = authority
        if self.http.mirror is not None:
            cluster = self._cluster(self.http.mirror)
            action.request_mirror_policies.extend(mirror_policy(cluster, self.http.mirror_percentage))
        for mirror in self.http.mirrors:
            action.request_mirror_policies.extend(mirror_policy(self._cluster(mirror.destination), mirror.percentage))
        keeps_host = False
        if len(self.http.route) == 1:
            keeps_host = self._to_one(action, self.http.route[0])
        else:
            weighted = [self._weighted(action, choice) for choice in self.http.route if choice.weight]
            action.weighted_clusters.clusters.extend(weighted)
            action.weighted_clusters.SetInParent()
        policy = retry_policy(self.http.retries, keeps_host=keeps_host)
        if policy is not None:
            action.retry_policy.CopyFrom(policy)
        return action

    def _rewrite(self, action: xds.route.RouteAction) -> str:
        rewrite = self.http.rewrite
        if rewrite is None:
            return ""
        if rewrite.uri_regex_rewrite is not None:
            action.regex_rewrite.pattern.regex = rewrite.uri_regex_rewrite.match
            action.regex_rewrite.substitution = rewrite.uri_regex_rewrite.rewrite
        elif rewrite.uri:
            action.prefix_rewrite = rewrite.uri
        return rewrite.authority

    def _cluster(self, destination: Destination) -> str:
        """A destination without a port means the port of the route, whatever ports the service has."""
        port = destination.port.number if destination.port else self.scope.port
        return cluster_name(port, destination.subset, self._host(destination))

    def _host(self, destination: Destination) -> str:
        return fully_qualified(destination.host, self.namespace, self.scope.domain).lower()

    def _hash(self, destination: Destination) -> ConsistentHash | None:
        rule = self.scope.rule_for(self._host(destination))
        port = destination.port.number if destination.port else None
        return rule.hash_for(port, destination.subset) if rule else None

    def _to_one(self, action: xds.route.RouteAction, choice: RouteDestination) -> bool:
        action.cluster = self._cluster(choice.destination)
        if choice.headers is not None:
            authority = apply_headers(self.out, choice.headers)
            if authority and not action.HasField("host_rewrite_literal"):
                action.host_rewrite_literal = authority
        setting = self._hash(choice.destination)
        action.hash_policy.extend(hash_policy(setting))
        return setting is not None

    def _weighted(
        self, action: xds.route.RouteAction, choice: RouteDestination
    ) -> xds.route.WeightedCluster.ClusterWeight:
        out = xds.route.WeightedCluster.ClusterWeight(name=self._cluster(choice.destination))
        out.weight.value = choice.weight
        if choice.headers is not None and (authority := apply_headers(out, choice.headers)):
            out.host_rewrite_literal = authority
        action.hash_policy.extend(hash_policy(self._hash(choice.destination)))
        return out
