"""Where a program without a sidecar goes when the mesh says: to where the caller was going (ORIGINAL_DST). Pure.

istiod says so of headless Services, of ServiceEntries with resolution NONE and of DestinationRules with PASSTHROUGH.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds_client.model import ClusterConfig, ClusterLoadAssignment, Endpoint, Locality, LocalityEndpoints

if TYPE_CHECKING:
    from xds_client.model import Cluster, TargetConfig, VirtualHost

_PARTS = 4  # outbound|PORT|SUBSET|HOST


def to_where_it_was_going(cluster: Cluster, config: TargetConfig) -> ClusterConfig:
    """The cluster, with one endpoint: a name, which `rpc` looks up.

    Behind a sidecar the program looks its host up and dials; the sidecar keeps address and port, and adds the cluster's
    TLS and limits. So the name is what the caller said: the service, or one pod of it (``reviews-0.reviews…``). Where a
    route leads from one host to another's cluster, nobody has dialled the other, and a sidecar would go on to the
    first; the route means the other one, by its own name and port.
    """
    host, port = config.host, config.target.port
    service, service_port = _service_of(cluster.name)
    if service is not None and not _covers(service, host):
        if _is_of(config.virtual_host, service):
            host = _in_full(host, service, config.virtual_host)
        elif service.startswith("*"):
            reason = (
                f"cluster {cluster.name!r} goes to where the caller was going, and {host!r} is no name of {service!r}"
            )
            return ClusterConfig(cluster.name, None, None, reason)
        else:
            host, port = service, service_port
    endpoint = Endpoint(host, cluster.port_override or port)
    here = LocalityEndpoints(Locality(), 0, 0, (endpoint,))
    return ClusterConfig(cluster.name, cluster, ClusterLoadAssignment(cluster.name, (here,)))


def subset_of(cluster: str) -> str:
    """As its name says; empty: the whole service."""
    parts = cluster.split("|")
    return parts[2] if len(parts) == _PARTS else ""


def _service_of(cluster: str) -> tuple[str | None, int]:
    parts = cluster.split("|")
    if len(parts) != _PARTS or not (parts[1].isascii() and parts[1].isdigit()):
        return None, 0
    return parts[3].lower(), int(parts[1])


def _covers(service: str, host: str) -> bool:
    """Whether the host is the service, a pod of it, or one that its wildcard means."""
    return host == service or host.endswith(f".{service.removeprefix('*.')}")


def _is_of(virtual_host: VirtualHost, service: str) -> bool:
    """By its name: istiod's is ``HOST:PORT`` of the host itself, whatever short names and addresses it serves."""
    return virtual_host.name.rpartition(":")[0].lower() == service


def _in_full(host: str, service: str, virtual_host: VirtualHost) -> str:
    """A pod's short name by the service's full one, which DNS knows without a search list: ``reviews-0.reviews`` where
    ``*.reviews`` is a domain. Anything else, such as an address of the service, as the caller said it.
    """
    short_names = (domain.lower().removeprefix("*.") for domain in virtual_host.domains if domain.startswith("*."))
    meant = [name for name in short_names if host.endswith(f".{name}") and service.startswith(f"{name}.")]
    return host.removesuffix(max(meant, key=len)) + service if meant else host
