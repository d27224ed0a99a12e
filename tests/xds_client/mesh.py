"""Resources as istiod would send them, in one line each, and the responses that carry them."""

from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.service.discovery.v3 import discovery_pb2

from xds_client.resource_type import ResourceType

REVIEWS = "reviews.demo.svc.cluster.local"
REVIEWS_ROUTE = f"{REVIEWS}:9080"


def subset(version="", host=REVIEWS, port=9080):
    return f"outbound|{port}|{version}|{host}"


def cluster(name, **fields):
    message = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS, **fields)
    message.eds_cluster_config.service_name = name
    return message


def endpoints(name, *addresses, port=19080):
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    if addresses:
        group = message.endpoints.add()
        for address in addresses:
            socket_address = group.lb_endpoints.add().endpoint.address.socket_address
            socket_address.address = address
            socket_address.port_value = port
    return message


def route(name, *clusters, domains=("*",)):
    """A table with one virtual host and one route to the clusters; without clusters an empty table."""
    message = route_pb2.RouteConfiguration(name=name)
    if clusters:
        virtual_host = message.virtual_hosts.add(name=name, domains=domains)
        only = virtual_host.routes.add(name="default")
        only.match.prefix = "/"
        action = only.route
        action.timeout.seconds = 0
        if len(clusters) == 1:
            action.cluster = clusters[0]
        for cluster_name in clusters if len(clusters) > 1 else ():
            action.weighted_clusters.clusters.add(name=cluster_name).weight.value = 1
    return message


def inbound(*ports, name="virtualInbound"):
    """An inbound listener with one plaintext chain per port."""
    message = listener_pb2.Listener(name=name)
    for port in ports:
        chain = message.filter_chains.add(name=f"0.0.0.0_{port}")
        chain.filter_chain_match.destination_port.value = port
        chain.filters.add(name="envoy.filters.network.redis_proxy")
    return message


def broken_cluster(name):
    """Good protobuf that makes no sense: found when the typed value is built, not at receipt."""
    message = cluster(name)
    message.lb_policy = 99
    return message


_KIND_OF = {
    cluster_pb2.Cluster: ResourceType.CLUSTER,
    endpoint_pb2.ClusterLoadAssignment: ResourceType.ENDPOINT,
    listener_pb2.Listener: ResourceType.LISTENER,
    route_pb2.RouteConfiguration: ResourceType.ROUTE,
    extension_pb2.TypedExtensionConfig: ResourceType.EXTENSION,
}


def kind_of(message):
    return _KIND_OF[type(message)]


def name_of(message):
    return message.cluster_name if isinstance(message, endpoint_pb2.ClusterLoadAssignment) else message.name


def response(kind, *messages, nonce="n1", removed=(), version="v1"):
    answer = discovery_pb2.DeltaDiscoveryResponse(
        type_url=kind.value, nonce=nonce, system_version_info=version, removed_resources=removed
    )
    for message in messages:
        resource = answer.resources.add(name=name_of(message))
        resource.resource.Pack(message)
    return answer


def with_garbage(answer, name):
    """Add a resource whose bytes are no protobuf."""
    resource = answer.resources.add(name=name)
    resource.resource.type_url = answer.type_url
    resource.resource.value = b"\x0a\xff"
    return answer


def request(data):
    return discovery_pb2.DeltaDiscoveryRequest.FromString(data)
