"""The kinds of resource this client asks for, by their type URL."""

from __future__ import annotations

from enum import Enum

WILDCARD = "*"


class ResourceType(Enum):
    """A kind of xDS resource, by its type URL.

    Members are in istiod's push order (pilot/pkg/xds/ads.go PushOrder), which is also the order of asking.

    What is not in it istiod pushes last.

    >>> str(ResourceType.CLUSTER)
    'Cluster'
    >>> ResourceType("type.googleapis.com/envoy.config.route.v3.RouteConfiguration")
    <ResourceType.ROUTE: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration'>
    """

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
    EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

    @property
    def by_wildcard(self) -> bool:
        """Whether istiod sends all of them whatever names are asked for; the others come on demand, name by name."""
        return self in (ResourceType.CLUSTER, ResourceType.LISTENER)

    def __str__(self) -> str:
        return self.value.rpartition(".")[2]
