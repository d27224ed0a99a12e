"""What a control plane sends to a node, resource by resource as upb messages, without our client in between."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from tests.localmesh.captures import CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_TIMEOUT = 20.0


def node(address: str, namespace: str = "demo", **metadata: Any) -> Node:
    found = Node(id=f"sidecar~{address}~pod.{namespace}~{namespace}.svc.cluster.local")
    found.metadata.update({"NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", **metadata})
    return found


class Asking:
    """One delta stream over which a node asks."""

    def __init__(self, address: str, node: Node) -> None:
        self._channel = grpc.insecure_channel(address)
        self._node = node
        self._requests: SimpleQueue[DeltaDiscoveryRequest | None] = SimpleQueue()
        method = self._channel.stream_stream(
            METHOD,
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )
        self._call = method(iter(self._requests.get, None), timeout=_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._call.cancel()
        self._channel.close()

    def ask(self, kind: str, names: Sequence[str] = ()) -> dict[str, Message]:
        """``kind`` is CDS, EDS, LDS or RDS; without names a wildcard."""
        found = CLASSES[kind]
        url = f"type.googleapis.com/{found.DESCRIPTOR.full_name}"
        self._requests.put(DeltaDiscoveryRequest(node=self._node, type_url=url, resource_names_subscribe=names))
        while (response := next(self._call)).type_url != url:
            pass  # endpoints are sent again after clusters
        return {resource.name: found.FromString(resource.resource.value) for resource in response.resources}
