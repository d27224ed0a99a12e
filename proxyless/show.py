"""What the mesh says, for people: one target's configuration as a tree, the exchanger's status as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text
from rich.tree import Tree

from proxyless.said import said
from xds_client.model import ForwardAction, LbPolicy, PresentMatch, RangeMatch, StringMatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from xds_client import IdentityStatus, Status, TargetConfig
    from xds_client.model import (
        Cluster,
        ClusterConfig,
        ClusterWeight,
        Endpoint,
        HeaderMatch,
        LocalityEndpoints,
        Route,
        RouteMatch,
        UpstreamTls,
    )


# What is told in words of its own. The rest of what the mesh said follows as "said"; left_out names what is not obeyed.
_TOLD_OF_ACTIONS = ("cluster", "weighted_clusters")
_TOLD_OF_ROUTES = ("name", "match", "action", "left_out", "unread", "forward")
_TOLD_OF_HOSTS = ("name", "domains", "routes", "require_tls", "left_out")
_OBEYED = frozenset({LbPolicy.ROUND_ROBIN, LbPolicy.RANDOM, LbPolicy.PICK_FIRST})


def config_tree(config: TargetConfig, *, whole: bool = False) -> Tree:
    """Routes in the order in which they are tried; clusters by name. ``whole``: with all that the mesh said besides."""
    tree = Tree(_line(str(config.target), f"is {config.host}, route table {config.route_name}"))
    if config.past_the_mesh:
        tree.add(Text("called past the mesh (ALLOW_ANY)", style="yellow"))
    routes = tree.add(_line("routes", "the first that matches decides"))
    for number, route in enumerate(config.virtual_host.routes, start=1):
        branch = routes.add(_line(f"{number}. {_match(route.match)}", route.name))
        for line in _action(route):
            branch.add(Text(line))
        _add_left_out(branch, (*route.left_out, *route.unread))
        if whole:
            _add_all_of_route(branch, route)
    unread = (*config.virtual_host.left_out, *config.table.left_out)
    if whole or unread:
        host = tree.add(_line("virtual host", config.virtual_host.name))
        _add_left_out(host, unread)
        if whole:
            _add_said(host, config.virtual_host, _TOLD_OF_HOSTS)
            _add_said(host, config.table, ("left_out",))
    clusters = tree.add(_line("clusters"))
    for cluster in config.clusters:
        branch = _add_cluster(clusters, cluster)
        if whole:
            _add_all_of_cluster(branch, cluster)
    return tree


def status_lines(status: Status, settings: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Node, control plane, what was tried; and the settings, if given."""
    yield f"node           {status.node_id}"
    yield f"control plane  {status.address}: {_connection(status)}"
    if status.identity is not None:
        yield from _identity(status.identity)
    for kind, names in status.wanted.items():
        if names:
            yield f"{kind!s:<22} asked for {', '.join(sorted(names))}; {status.known.get(kind, 0)} known"
    for kind, missing in status.missing.items():
        for name, reason in missing.items():
            yield f"{kind!s:<22} {name} is missing: {reason}"
    yield from (f"rejected: {error}" for error in status.rejected)
    if status.left_out:
        yield f"not carried out: {len(status.left_out)}"
        yield from (f"  {line}" for line in status.left_out)
    if settings is not None:
        yield "settings"
        width = max(map(len, settings)) + 1
        yield from (f"  {name:<{width}} {_setting(value)}" for name, value in settings.items())


def _identity(identity: IdentityStatus) -> Iterator[str]:
    if identity.spiffe_id:
        alive = "expired" if (identity.expires_in or 0) <= 0 else f"expires in {identity.expires_in:.0f} s"
        yield f"identity       {identity.spiffe_id}, {alive} ({identity.not_after})"
    else:
        yield "identity       none"
    renewal = "" if identity.renewal_in is None else f", asked again in {identity.renewal_in:.0f} s"
    yield f"               from {identity.source}{renewal}"
    yield from (f"               {what}" for what in (identity.error, identity.warning) if what)


def _connection(status: Status) -> str:
    connection = status.connection
    said = connection.phase.value
    if not status.connected:
        said += f" after {connection.attempts} attempt{'s' if connection.attempts != 1 else ''}"
    if connection.last_error:
        said += f", last error: {connection.last_error}"
    if status.retry_in is not None:
        said += f", next attempt in {status.retry_in:.1f} s"
    return said


def _setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={entry}" for key, entry in value.items() if entry) or "-"
    return str(value) if value else "-"


def _shares(route: Route) -> Iterator[ClusterWeight]:
    """Those of whose requests more is said than how many they are."""
    if route.forward is not None and route.forward.weighted_clusters is not None:
        yield from (one for one in route.forward.weighted_clusters.clusters if any(said(one, ("name", "weight"))))


def _match(match: RouteMatch) -> str:
    if match.never:
        return f"no request ({match.never})"
    if match.connect:
        return "CONNECT, so no gRPC call"
    path = match.path
    case = "" if path.case_sensitive else " (any case)"
    parts = [f"path {path.kind.value.replace('_', ' ')} {path.value}{case}", *map(_header, match.headers)]
    if match.fraction_per_million is not None:
        parts.append(f"{match.fraction_per_million / 10_000:g} % of requests")
    parts += [f"query parameter {q.name}{_rule(q.rule)}" for q in match.query_parameters]
    return " and ".join(parts) + ("" if match.possible_for_grpc else ", so no gRPC call")


def _rule(rule: StringMatch | PresentMatch | None) -> str:
    if isinstance(rule, StringMatch):
        return f" {_string(rule)}"
    return " absent" if rule is not None and not rule.present else " present"


def _header(header: HeaderMatch) -> str:
    rule = header.rule
    if isinstance(rule, PresentMatch):
        said = "present" if rule.present != header.invert else "absent"
        return f"{header.name} {said}"
    said = f"from {rule.start} to below {rule.end}" if isinstance(rule, RangeMatch) else _string(rule)
    return f"{header.name} {'not ' if header.invert else ''}{said}"


def _string(match: StringMatch) -> str:
    return f"{match.kind.value} {match.value}{' (any case)' if match.ignore_case else ''}"


def _action(route: Route) -> Iterator[str]:
    action = route.action
    if not isinstance(action, ForwardAction):
        yield f"{action.kind}: not carried out by this release; such calls fail"
        return
    total = sum(cluster.weight for cluster in action.clusters)
    for cluster in action.clusters:
        yield f"{100 * cluster.weight / total:g} % to {cluster.name}"
    if action.timeout is not None:
        yield f"timeout {action.timeout:g} s"


def _add_cluster(tree: Tree, config: ClusterConfig) -> Tree:
    cluster = config.cluster
    if cluster is None:
        unusable = tree.add(_line(config.name, ""))
        unusable.add(Text(f"cannot be used: {config.error}", style="red"))
        return unusable
    branch = tree.add(_line(config.name, _cluster(cluster)))
    endpoints = config.endpoints.left_out if config.endpoints else ()
    _add_left_out(branch, (*cluster.left_out, *cluster.unread, *endpoints))
    localities = config.endpoints.localities if config.endpoints else ()
    if not any(group.endpoints for group in localities):
        branch.add(Text("no endpoints", style="red"))
    for group in localities:
        places = branch.add(_line(_locality(group), _group(group)))
        for endpoint in group.endpoints:
            places.add(_line(f"{endpoint.address}:{endpoint.port}", _endpoint(endpoint, cluster.tls_for(endpoint))))
    return branch


def _add_all_of_route(branch: Tree, route: Route) -> None:
    _add_said(branch, route.forward, _TOLD_OF_ACTIONS)
    for share in _shares(route):
        _add_said(branch.add(_line(f"of what goes to {share.name}")), share, ("name", "weight"))
    _add_said(branch, route, _TOLD_OF_ROUTES)


def _add_all_of_cluster(branch: Tree, config: ClusterConfig) -> None:
    if config.cluster is not None:
        _add_said(branch, config.cluster.terms, ())
        _add_said(branch, config.cluster.metadata, ())
    if config.endpoints is not None:
        _add_said(branch, config.endpoints, ("name", "localities", "left_out"))


def _add_left_out(branch: Tree, left_out: tuple[str, ...]) -> None:
    for what in left_out:
        branch.add(Text(f"not carried out: {what}", style="yellow"))


def _add_said(branch: Tree, value: object, obeyed: Collection[str]) -> None:
    for line in said(value, obeyed):
        branch.add(Text(f"said: {line}", style="dim"))


def _cluster(cluster: Cluster) -> str:
    policy = cluster.lb_policy.value
    obeyed = policy if cluster.lb_policy in _OBEYED else f"{policy} as weighted round robin"
    return f"{cluster.discovery.value}, {obeyed}, connect within {cluster.connect_timeout:g} s"


def _locality(group: LocalityEndpoints) -> str:
    place = group.locality
    return f"{place.region}/{place.zone}/{place.sub_zone}".rstrip("/") or "no locality"


def _group(group: LocalityEndpoints) -> str:
    weight = f", weight {group.weight}" if group.weight else ""
    return f"priority {group.priority}{weight}"


def _endpoint(endpoint: Endpoint, tls: UpstreamTls | None) -> str:
    called = f"mTLS, SNI {tls.sni or 'none'}" if tls is not None else "plaintext"
    workload = f", {endpoint.workload}" if endpoint.workload else ""
    return f"weight {endpoint.weight}, {endpoint.health.value}, {called}{workload}"


def _line(what: str, more: str = "") -> Text:
    """`Text`, so that brackets in a name are not taken for markup."""
    return Text.assemble((what, "bold"), (f"  {more}" if more else "", "dim"))
