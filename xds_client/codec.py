"""The envelope on the wire: delta discovery requests and responses to and from plain values. Pure functions.

Besides `xds_client.decode` the only place that knows protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from envoy.config.core.v3 import base_pb2  # type: ignore[import-untyped]
from envoy.service.discovery.v3 import discovery_pb2  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError as WireError
from google.rpc import code_pb2  # type: ignore[import-untyped]

from xds_client.errors import ProtocolError

if TYPE_CHECKING:
    from xds_client.decode import Parsed
    from xds_client.errors import DecodeError
    from xds_client.node import Node
    from xds_client.resource_type import ResourceType


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """One DeltaDiscoveryRequest: a subscription change (no nonce), an ACK (nonce) or a NACK (nonce and error)."""

    kind: ResourceType
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: tuple[tuple[str, str], ...] = ()
    nonce: str = ""
    error: str = ""
    node: Node | None = None

    def encode(self) -> bytes:
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=self.kind.value,
            resource_names_subscribe=self.subscribe,
            resource_names_unsubscribe=self.unsubscribe,
            initial_resource_versions=dict(self.initial_versions),
            response_nonce=self.nonce,
        )
        if self.error:
            message.error_detail.code = code_pb2.INVALID_ARGUMENT
            message.error_detail.message = self.error
        if self.node is not None:
            message.node.CopyFrom(_node(self.node))
        encoded: bytes = message.SerializeToString()
        return encoded


@dataclass(frozen=True, slots=True)
class WireResource:
    """One resource still packed. ``data`` None: a heartbeat, nothing but the name.

    ``parsed``: what is in it, or what is wrong with it, if somebody has looked already.
    """

    name: str
    version: str
    type_url: str
    data: bytes | None
    parsed: Parsed | DecodeError | None = None


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    type_url: str
    version: str
    nonce: str
    resources: tuple[WireResource, ...]
    removed: tuple[str, ...]


def decode_delta_response(data: bytes) -> DeltaResponse:
    """Open the envelope; raise `ProtocolError` when it is none."""
    try:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
    except WireError as error:
        raise ProtocolError(f"{len(data)} bytes that are no DeltaDiscoveryResponse: {error}") from error
    resources = tuple(
        WireResource(r.name, r.version, r.resource.type_url, r.resource.value if r.HasField("resource") else None)
        for r in message.resources
    )
    return DeltaResponse(
        message.type_url, message.system_version_info, message.nonce, resources, tuple(message.removed_resources)
    )


def _node(node: Node) -> base_pb2.Node:
    message = base_pb2.Node(id=node.id, cluster=node.cluster_id, user_agent_name="proxyless-python")
    message.metadata.update(node.metadata())
    where = node.locality
    if where.region:
        message.locality.region = where.region
        message.locality.zone = where.zone
        message.locality.sub_zone = where.sub_zone
    return message
