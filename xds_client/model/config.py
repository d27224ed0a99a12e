"""What a channel works from: one target joined whole. Frozen values; equal means nothing changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xds_client.model.route import NO_TERMS

if TYPE_CHECKING:
    from xds_client.model.cluster import Cluster
    from xds_client.model.endpoint import ClusterLoadAssignment
    from xds_client.model.route import RouteTableTerms, VirtualHost
    from xds_client.model.target import Target


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """A cluster joined with its endpoints, or the reason why it cannot be used (then the rest is None)."""

    name: str
    cluster: Cluster | None
    endpoints: ClusterLoadAssignment | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """Everything a call to the target needs. ``host`` is the FQDN that answered; clusters are sorted by name.

    ``table``: what the route table says of all its virtual hosts.

    ``past_the_mesh``: why the mesh does not know the host, where it lets such be called all the same (ALLOW_ANY).

    >>> told = Queue()
    >>> with rpc.mesh().observe_target(Target.parse("xds:///greeter.demo:9080"), told.put):
    ...     config = told.get(timeout=10)
    >>> config.host, [cluster.name for cluster in config.clusters]
    ('greeter.demo.svc.cluster.local', ['outbound|9080||greeter.demo.svc.cluster.local'])
    """

    target: Target
    host: str
    route_name: str
    virtual_host: VirtualHost
    clusters: tuple[ClusterConfig, ...]
    past_the_mesh: str = ""
    table: RouteTableTerms = NO_TERMS


@dataclass(frozen=True, slots=True)
class TargetMissing:
    """The control plane answered that it knows no such target; ``reason`` names host, answer and asking node.

    Where the mesh lets unknown hosts be called (ALLOW_ANY), it is a `TargetConfig` with ``past_the_mesh``.

    >>> told = Queue()
    >>> with rpc.mesh().observe_target(Target.parse("xds:///nobody.demo:9080"), told.put):
    ...     told.get(timeout=10).reason
    "no host 'nobody.demo' with an HTTP or gRPC port 9080 in the mesh: ..."
    """

    target: Target
    reason: str
