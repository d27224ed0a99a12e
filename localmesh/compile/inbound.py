"""The clusters behind a node's own ports: one for each port that a service leads to, and one for all others. Pure.

Follows istiod's `buildInboundClustersFromServiceInstances`. Only an Envoy needs them; a server of ours is at the port.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile.cluster import passthrough_cluster
from localmesh.compile.http_options import NAME, http_protocol_options
from localmesh.compile.load_balancing import apply_connection_pool
from localmesh.compile.policy import NO_POLICY
from localmesh.config.destination_rule import ConnectionPool, H2UpgradePolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localmesh.compile.mesh import Mesh
    from localmesh.compile.policy import Rules
    from localmesh.compile.registry import Target
    from localmesh.compile.view import View

PASSTHROUGH = "InboundPassthroughCluster"
INBOUND_PORT = 15006  # where virtualInbound listens; connections to it are redirected ones
RESERVED_PORTS = (15001, INBOUND_PORT)
_FROM_V4, _FROM_V6 = "127.0.0.6", "::6"  # who comes from these is not redirected again
_NEVER = timedelta(seconds=9_223_372_035)


def inbound_name(port: int) -> str:
    return f"inbound|{port}||"


def by_port(targets: list[Target]) -> dict[int, list[Target]]:
    """The node's ports in order; the first target of each is the one that counts."""
    ports: dict[int, list[Target]] = {}
    for target in targets:
        ports.setdefault(target.number, []).append(target)
    return dict(sorted(ports.items()))


def inbound_clusters(targets: list[Target], rules: Rules, mesh: Mesh, view: View) -> Iterator[xds.cluster.Cluster]:
    for port, there in by_port(targets).items():
        yield _cluster(port, there, rules, mesh, view)
    passthrough = passthrough_cluster(PASSTHROUGH, mesh.config)
    passthrough.upstream_bind_config.CopyFrom(_bind(view, both=True))
    yield passthrough


def _cluster(number: int, targets: list[Target], rules: Rules, mesh: Mesh, view: View) -> xds.cluster.Cluster:
    first = targets[0]
    rule = rules.for_host(first.service.hostname, first.service.namespace, view.namespace)
    policy = rule.policy_for(first.port.number) if rule is not None and rule.policy is not None else NO_POLICY
    pool = policy.connection_pool or ConnectionPool()
    pool = replace(pool, http=replace(pool.http, h2_upgrade_policy=H2UpgradePolicy.DEFAULT))  # is for callers
    name = inbound_name(number)
    cluster = xds.cluster.Cluster(
        name=name,
        alt_stat_name=f"{name};",
        type=xds.cluster.Cluster.ORIGINAL_DST,
        common_lb_config={},
        lb_policy=xds.cluster.Cluster.CLUSTER_PROVIDED,
        cleanup_interval=_NEVER,
        upstream_bind_config=_bind(view, both=False),
    )
    apply_connection_pool(cluster, pool, mesh.config.connect_timeout)
    options = http_protocol_options(first.port, pool, None)
    if options is not None:
        cluster.typed_extension_protocol_options[NAME].CopyFrom(xds.any_of(options))
    hosts = dict.fromkeys(target.service.hostname for target in targets if target.port.number == first.port.number)
    services: list[dict[str, xds.JsonScalar]] = [
        {"name": host, "namespace": first.service.namespace, "host": host} for host in hosts
    ]
    fields: dict[str, xds.JsonScalar | list[dict[str, xds.JsonScalar]]] = {"services": services}
    if rule is not None and rule.policy is not None:
        fields["config"] = rule.config
    cluster.metadata.CopyFrom(xds.istio_metadata(fields))
    return cluster


def _bind(view: View, *, both: bool) -> xds.core.BindConfig:
    own = xds.core.SocketAddress(address=_FROM_V4 if view.has_ipv4 else _FROM_V6, port_value=0)
    config = xds.core.BindConfig(source_address=own)
    if both and view.has_ipv4 and view.has_ipv6:
        other = xds.core.SocketAddress(address=_FROM_V6, port_value=0)
        config.extra_source_addresses.add(address=other)
    return config
