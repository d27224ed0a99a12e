"""The envelope on the wire: delta discovery requests and responses to and from plain values. Pure functions.

Besides `xds_client.decode` the only place that knows protobuf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from envoy.config.core.v3 import base_pb2  # type: ignore[import-untyped]
from envoy.service.discovery.v3 import discovery_pb2  # type: ignore[import-untyped]
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError as WireError
from google.rpc import code_pb2  # type: ignore[import-untyped]

from xds_client.envelope import LONGEST_NAME, fields, pieces
from xds_client.errors import ProtocolError
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xds_client.decode import Content
    from xds_client.errors import DecodeError
    from xds_client.node import Node
    from xds_client.resource_type import ResourceType

_NOTHING = memoryview(b"")
_LONGEST_NONCE = 64 << 10  # characters: each is said again, and kept for as long as the stream lasts


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
    """One resource still packed. ``data`` None: a heartbeat, nothing but the name; a view: it is too large to be taken.

    ``parsed``: what is in it, or what is wrong with it, if somebody has looked already.
    """

    name: str
    version: str
    type_url: str
    data: bytes | memoryview | None
    parsed: Content | DecodeError | None = None


class Resources(Sequence[WireResource]):
    """Those of one response, kept as columns: 200,000 objects would each be visited by every garbage collection."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._versions: list[str] = []
        self._types: list[str] = []
        self._data: list[bytes | memoryview | None] = []
        self._parsed: list[Content | DecodeError | None] = []

    def append(self, resource: WireResource) -> None:
        # One string for all that are of one type.
        same = bool(self._types) and self._types[-1] == resource.type_url
        self.names.append(resource.name)
        self._versions.append(resource.version)
        self._types.append(self._types[-1] if same else resource.type_url)
        self._data.append(resource.data)
        self._parsed.append(resource.parsed)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> WireResource: ...
    @overload
    def __getitem__(self, index: slice) -> list[WireResource]: ...
    def __getitem__(self, index: int | slice) -> WireResource | list[WireResource]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return WireResource(
            self.names[index], self._versions[index], self._types[index], self._data[index], self._parsed[index]
        )

    def __iter__(self) -> Iterator[WireResource]:
        return in_turns(map(WireResource, self.names, self._versions, self._types, self._data, self._parsed))


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    type_url: str
    version: str
    nonce: str
    resources: Resources
    removed: tuple[str, ...]


def decode_delta_response(data: bytes) -> DeltaResponse:
    """Open the envelope; raise `ProtocolError` when it is none."""
    type_url = version = nonce = ""
    resources, removed = Resources(), list[str]()
    for piece in pieces(data):
        if isinstance(piece, memoryview):
            resources.append(_too_large(piece))
            continue
        try:
            message = discovery_pb2.DeltaDiscoveryResponse.FromString(piece)
        except WireError as error:
            raise ProtocolError(f"{len(data)} bytes that are no DeltaDiscoveryResponse: {error}") from error
        type_url = message.type_url or type_url
        version = message.system_version_info or version
        nonce = message.nonce or nonce
        if len(nonce) > _LONGEST_NONCE:
            raise ProtocolError(f"a discovery response with a nonce of {len(nonce)} characters")
        for one in in_turns(message.resources):
            content = one.resource.value if one.HasField("resource") else None
            resources.append(WireResource(one.name, one.version, one.resource.type_url, content))
        removed += message.removed_resources
    return DeltaResponse(type_url, version, nonce, resources, tuple(removed))


def _too_large(field: memoryview) -> WireResource:
    """Who it is, to refuse it by name: what is in it is not even copied."""
    resource = fields(field).get(discovery_pb2.DeltaDiscoveryResponse.RESOURCES_FIELD_NUMBER)
    if resource is None:
        raise ProtocolError(f"a field of {len(field)} bytes that is no resource")
    of = discovery_pb2.Resource
    said = fields(resource)
    packed = fields(said.get(of.RESOURCE_FIELD_NUMBER, _NOTHING))
    name, version, type_url = (
        bytes(text[: LONGEST_NAME + 1]).decode(errors="replace")
        for text in (
            said.get(of.NAME_FIELD_NUMBER, _NOTHING),
            said.get(of.VERSION_FIELD_NUMBER, _NOTHING),
            packed.get(any_pb2.Any.TYPE_URL_FIELD_NUMBER, _NOTHING),
        )
    )
    return WireResource(name, version, type_url, packed.get(any_pb2.Any.VALUE_FIELD_NUMBER, _NOTHING))


def _node(node: Node) -> base_pb2.Node:
    message = base_pb2.Node(id=node.id, cluster=node.cluster_id, user_agent_name="proxyless-python")
    message.metadata.update(node.metadata())
    where = node.locality
    if where.region:
        message.locality.region = where.region
        message.locality.zone = where.zone
        message.locality.sub_zone = where.sub_zone
    return message
