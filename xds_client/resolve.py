"""From caches to one whole answer per observed thing: pure functions, no memory of their own.

A resolution lists what it read. That list is what must be subscribed to, and the answer stands until one of it changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xds_client.cache import NOT_YET, Caches, Found, Key, Known, Missing
from xds_client.dialled import to_where_it_was_going
from xds_client.domains import virtual_host_for
from xds_client.errors import DecodeError
from xds_client.model import (
    VIRTUAL_INBOUND,
    Cluster,
    ClusterConfig,
    ClusterLoadAssignment,
    DiscoveryType,
    ExtensionConfig,
    Filter,
    FilterChain,
    ForwardAction,
    InboundMissing,
    Listener,
    PathMatch,
    PathMatchKind,
    Route,
    RouteConfiguration,
    RouteMatch,
    RouteTableTerms,
    Target,
    TargetConfig,
    TargetMissing,
    VirtualHost,
    WeightedCluster,
)
from xds_client.resource_type import ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xds_client.decode import Value
    from xds_client.node import Node


@dataclass(frozen=True, slots=True)
class Selection:
    """Resources observed by name, for people who only want discovery."""

    kind: ResourceType
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Inbound:
    """The node's own inbound listener, which every server of the process reads."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What is decided about a `Selection`: typed values, or why there are none. In neither: not answered yet.

    >>> told = Queue()
    >>> name = "outbound|9080||greeter.demo.svc.cluster.local"
    >>> with rpc.mesh().observe(ResourceType.CLUSTER, [name], told.put):
    ...     selected = told.get(timeout=10)
    >>> list(selected.found), dict(selected.missing)
    (['outbound|9080||greeter.demo.svc.cluster.local'], {})
    """

    kind: ResourceType
    found: Mapping[str, Value]
    missing: Mapping[str, str]


Interest = Target | Selection | Inbound
Observed = TargetConfig | TargetMissing | Selected | Listener | InboundMissing


@dataclass(frozen=True, slots=True)
class Resolution:
    """``observed`` None: not whole yet, so there is nothing to announce. ``errors``: malformed resources met.

    ``again``: answers that cannot be right; to be forgotten and asked once more.
    """

    observed: Observed | None
    read: Mapping[Key, Found]
    errors: tuple[DecodeError, ...]
    again: frozenset[Key] = frozenset()

    def stands(self, caches: Caches) -> bool:
        """Whether resolving again would give the same answer."""
        return all(caches.look(*key) is found for key, found in self.read.items())


def resolve(interest: Interest, caches: Caches, node: Node) -> Resolution:
    reader = _Reader(caches)
    return Resolution(_observed(interest, reader, node), reader.read, tuple(reader.errors), frozenset(reader.again))


def _observed(interest: Interest, reader: _Reader, node: Node) -> Observed | None:
    match interest:
        case Target():
            return _target(interest, reader, node)
        case Selection():
            return _selection(interest, reader)
        case Inbound():
            return _inbound(reader, node)


class _Reader:
    """Looks into the caches and remembers at what."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self.read: dict[Key, Found] = {}
        self.errors: list[DecodeError] = []
        self.again: set[Key] = set()

    def value(self, kind: ResourceType, name: str) -> Value | Missing | DecodeError | None:
        """The last good value; or why there is none; or None when nobody knows yet."""
        found = self._caches.look(kind, name)
        self.read[kind, name] = found
        if found is NOT_YET:
            return None
        if isinstance(found, Missing):
            return found
        if not isinstance(found, Known):
            return found.error
        try:
            return found.value()
        except DecodeError as error:
            return error.kept()
        finally:
            if found.error is not None:
                self.errors.append(found.error)

    def ask_again(self, kind: ResourceType, name: str, instead_of: str) -> None:
        """Read ``name`` as if it had not been answered, and ``instead_of`` not at all."""
        del self.read[kind, instead_of]
        self.read[kind, name] = NOT_YET
        self.again.add((kind, name))


def _selection(selection: Selection, reader: _Reader) -> Selected | None:
    found: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for name in sorted(selection.names):
        value = reader.value(selection.kind, name)
        if isinstance(value, Missing):
            missing[name] = value.reason
        elif isinstance(value, DecodeError):
            missing[name] = f"it is malformed: {value}"
        elif value is not None:
            found[name] = value
    return Selected(selection.kind, found, missing) if found or missing else None


def _inbound(reader: _Reader, node: Node) -> Listener | InboundMissing | None:
    """Every sidecar gets this listener from istiod, services or not; when one does not, something is wrong."""
    listener = reader.value(ResourceType.LISTENER, VIRTUAL_INBOUND)
    if listener is None:
        return None
    if isinstance(listener, Listener):
        return _with_extensions(listener, reader)
    return InboundMissing(
        f"no inbound listener {VIRTUAL_INBOUND!r} for node {node.id}: {_why(listener)}; check that istiod knows this "
        f"workload by its IP {node.ip}, its namespace {node.namespace!r} and its cluster id {node.cluster_id!r}"
    )


def _with_extensions(listener: Listener, reader: _Reader) -> Listener:
    """Filters that are configured by a resource of their own (ECDS) are what that says. The listener does not wait for
    it: until then they are unknown, which closes their chains, while the rest of it holds already.
    """

    def seen(chain: FilterChain) -> FilterChain:
        network, http = (
            tuple(_with_extension(f, reader) for f in said) for said in (chain.network_filters, chain.http_filters)
        )
        return replace(chain, network_filters=network, http_filters=http)

    default = listener.default_filter_chain
    chains = listener.filter_chains if default is None else (*listener.filter_chains, default)
    if not any(f.discovered for chain in chains for f in (*chain.network_filters, *chain.http_filters)):
        return listener
    return replace(
        listener,
        filter_chains=tuple(map(seen, listener.filter_chains)),
        default_filter_chain=None if default is None else seen(default),
    )


def _with_extension(found: Filter, reader: _Reader) -> Filter:
    if not found.discovered:
        return found
    config = reader.value(ResourceType.EXTENSION, found.name)
    if config is None:
        return found
    if not isinstance(config, ExtensionConfig):
        return replace(found, unknown=_why(config))
    if found.permitted and config.type not in found.permitted:
        return replace(found, unknown=f"its configuration is {config.type}, which the listener does not permit")
    return replace(found, type=config.type, packed=config.packed, unknown="")


def _target(target: Target, reader: _Reader, node: Node) -> TargetConfig | TargetMissing | None:
    """Ask for one candidate after the other.

    When istiod generates two names of one service at once, it gives the virtual host to one of them and leaves the
    other table empty (route/httproute getVirtualHostsForSniffedServicePort). That happens to a host that appears after
    both its names were asked in vain; the virtual host's own name tells which name was meant.

    Hosts that only a wildcard of a VirtualService covers have no table of their own: a sidecar finds them in the table
    of the whole port, which is asked for last.
    """
    if target.cluster:
        return _whole(TargetConfig(target, target.host, "", _all_to(target.cluster), ()), reader)
    answers: dict[str, str] = {}
    for host in target.candidates(node.namespace, node.domain):
        name = f"{host}:{target.port}"
        table = reader.value(ResourceType.ROUTE, name)
        if table is None:
            return None
        if isinstance(table, DecodeError):
            return TargetMissing(target, f"host {target.host!r}: {table} (asked by node {node.id})")
        if isinstance(table, RouteConfiguration):
            virtual_host = virtual_host_for(host, target.port, table)
            if virtual_host is not None and virtual_host.name in answers:
                reader.ask_again(ResourceType.ROUTE, virtual_host.name, instead_of=name)
                return None
            if virtual_host is not None:
                return _whole(TargetConfig(target, host, name, virtual_host, (), table=table.terms), reader)
        answers[name] = _absence(name, table)
    return _by_whole_port(target, reader, node, answers, silence=table if isinstance(table, Missing) else None)


# How the virtual host is called that takes all hosts unknown to the mesh (istiod, buildCatchAllVirtualHost), by what
# MeshConfig and Sidecar say under outboundTrafficPolicy.
_ALLOW_ANY = "allow_any"
_UNKNOWN_HOSTS = {
    _ALLOW_ANY: "lets unknown hosts be called past the mesh (ALLOW_ANY)",
    "block_all": "lets no unknown host be called (REGISTRY_ONLY): a ServiceEntry makes it known",
}


def _by_whole_port(
    target: Target, reader: _Reader, node: Node, answers: dict[str, str], silence: Missing | None
) -> TargetConfig | TargetMissing | None:
    """A control plane that says nothing about the host is not asked about the port: that would take as long again."""
    name = str(target.port)
    table = silence or reader.value(ResourceType.ROUTE, name)
    if table is None:
        return None
    policy = "has no such host either"
    unknown: VirtualHost | None = None
    if not isinstance(table, RouteConfiguration):
        policy = f"is not to be had: {_why(table)}"
    else:
        for host in target.candidates(node.namespace, node.domain):
            virtual_host = virtual_host_for(host, target.port, table)
            if virtual_host is not None and virtual_host.name not in _UNKNOWN_HOSTS:
                return _whole(TargetConfig(target, host, name, virtual_host, (), table=table.terms), reader)
            unknown = virtual_host
            policy = _UNKNOWN_HOSTS[virtual_host.name] if virtual_host is not None else policy
    reason = (
        f"no host {target.host!r} with an HTTP or gRPC port {target.port} in the mesh: {'; '.join(answers.values())}; "
        f"the route table of the whole port {policy} "
        f"(asked by node {node.id}); check the name, the namespace and the port's protocol"
    )
    if unknown is None or unknown.name != _ALLOW_ANY:
        return TargetMissing(target, reason)
    terms = table.terms if isinstance(table, RouteConfiguration) else RouteTableTerms()
    return _past_the_mesh(TargetConfig(target, target.host, name, unknown, (), reason, terms), reader, node)


def _past_the_mesh(config: TargetConfig, reader: _Reader, node: Node) -> TargetConfig | TargetMissing | None:
    """By the name as the caller wrote it, which DNS may know, and in plaintext (PassthroughCluster).

    Not so a host whose port the mesh knows as another protocol's: a sidecar has a listener for that, with mutual TLS.
    """
    target = config.target
    services = _services_that_may_have(target, node)
    names = {f"outbound|{target.port}||{host}": only_by_name for host, only_by_name in services.items()}
    known = {name: reader.value(ResourceType.CLUSTER, name) for name in names}
    for name, found in known.items():
        called_by_name = not isinstance(found, Cluster) or found.discovery is DiscoveryType.ORIGINAL_DST
        if found is not None and not isinstance(found, Missing) and (called_by_name or not names[name]):
            return TargetMissing(target, f"{config.past_the_mesh}: {name} is there, for another one")
    if any(found is None for found in known.values()):
        return None
    return _whole(config, reader)


def _services_that_may_have(target: Target, node: Node) -> dict[str, bool]:
    """What the host may be, or be a part of, by name: itself, what a wildcard covers, or a pod of a headless Service.
    That is one only if its names lead to where they say (True), for no other Service has names of its pods.
    """
    found: dict[str, bool] = {}
    for host in target.candidates(node.namespace, node.domain):
        service = host.partition(".")[2]
        if service:
            above = Target(service, target.port).candidates(node.namespace, node.domain)
            found.update((name, True) for name in above if name not in found)
        labels = host.split(".")
        found.update((f"*.{'.'.join(labels[depth:])}", False) for depth in range(1, len(labels)))
        found[host] = False
    return found


def _absence(name: str, table: Value | Missing) -> str:
    if isinstance(table, Missing):
        return f"for {name} {table.reason}"
    if isinstance(table, RouteConfiguration) and table.virtual_hosts:
        return f"the route table for {name} has no virtual host of that name"
    return f"the control plane answered with an empty route table for {name}"


def _whole(config: TargetConfig, reader: _Reader) -> TargetConfig | None:
    """Join the clusters, or None while one of them is not answered yet. All are looked at, so all are asked at once."""
    clusters = [_cluster(name, reader, config) for name in _clusters_of(config.virtual_host)]
    joined = tuple(c for c in clusters if c is not None)
    if len(joined) < len(clusters):
        return None
    return replace(config, clusters=joined)


def _all_to(cluster: str) -> VirtualHost:
    everything = RouteMatch(PathMatch(PathMatchKind.PREFIX, "/"))
    return VirtualHost("", ("*",), (Route("", everything, ForwardAction((WeightedCluster(cluster, 1),))),))


def _clusters_of(virtual_host: VirtualHost) -> list[str]:
    actions = (route.action for route in virtual_host.routes if route.match.possible_for_grpc)
    return sorted({c.name for action in actions if isinstance(action, ForwardAction) for c in action.clusters})


def _cluster(name: str, reader: _Reader, config: TargetConfig) -> ClusterConfig | None:
    """A cluster with its endpoints. One that is missing or malformed fails alone; the rest of the target works."""
    cluster = reader.value(ResourceType.CLUSTER, name)
    if cluster is None:
        return None
    if not isinstance(cluster, Cluster):
        return ClusterConfig(name, None, None, f"cluster {name!r}: {_why(cluster)}")
    if cluster.unusable:
        return ClusterConfig(
            name, None, None, f"cluster {name!r} asks for what this release cannot do: {cluster.unusable}"
        )
    if cluster.discovery is DiscoveryType.ORIGINAL_DST:
        return to_where_it_was_going(cluster, config)
    if cluster.discovery is DiscoveryType.EDS:
        return _with_eds(cluster, reader)
    return ClusterConfig(name, cluster, cluster.inline_endpoints)


def _with_eds(cluster: Cluster, reader: _Reader) -> ClusterConfig | None:
    endpoints = reader.value(ResourceType.ENDPOINT, cluster.eds_name)
    if endpoints is None:
        return None
    if not isinstance(endpoints, ClusterLoadAssignment):
        return ClusterConfig(cluster.name, None, None, f"endpoints {cluster.eds_name!r}: {_why(endpoints)}")
    return ClusterConfig(cluster.name, cluster, endpoints)


def _why(value: Value | Missing | DecodeError) -> str:
    return value.reason if isinstance(value, Missing) else str(value)
