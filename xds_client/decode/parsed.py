"""A received resource between its two decodes: parsed whole at receipt, typed and validated when first wanted.

A mesh of 10,000 clusters arrives in one response and a program calls three of them. Used on the exchanger's thread.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from envoy.config.cluster.v3 import cluster_pb2  # type: ignore[import-untyped]
from envoy.config.core.v3 import extension_pb2  # type: ignore[import-untyped]
from envoy.config.endpoint.v3 import endpoint_pb2  # type: ignore[import-untyped]
from envoy.config.listener.v3 import listener_pb2  # type: ignore[import-untyped]
from envoy.config.route.v3 import route_pb2  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError as WireError

from xds_client.decode.cluster import cluster
from xds_client.decode.endpoint import cluster_load_assignment
from xds_client.decode.fields import FieldError, bounded_patterns
from xds_client.decode.filters import extension_config
from xds_client.decode.listener import listener
from xds_client.decode.route import route_configuration
from xds_client.envelope import LARGEST_RESOURCE, LONGEST_NAME
from xds_client.errors import DecodeError
from xds_client.model import Cluster, ClusterLoadAssignment, ExtensionConfig, Listener, RouteConfiguration
from xds_client.resource_type import ResourceType

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(f"proxyless.{__name__}")

_SHOWN = 200  # characters of a name that is too long

Value = Cluster | ClusterLoadAssignment | Listener | RouteConfiguration | ExtensionConfig


_MESSAGES: dict[ResourceType, tuple[Any, str, Callable[[Any], Value]]] = {
    ResourceType.CLUSTER: (cluster_pb2.Cluster, "name", cluster),
    ResourceType.ENDPOINT: (endpoint_pb2.ClusterLoadAssignment, "cluster_name", cluster_load_assignment),
    ResourceType.LISTENER: (listener_pb2.Listener, "name", listener),
    ResourceType.ROUTE: (route_pb2.RouteConfiguration, "name", route_configuration),
    ResourceType.EXTENSION: (extension_pb2.TypedExtensionConfig, "name", extension_config),
}


class Parsed:
    """One resource that is good protobuf of the right type. Whether it makes sense, `value` tells."""

    __slots__ = ("_message", "_outcome", "data", "kind", "name")

    def __init__(self, kind: ResourceType, name: str, data: bytes, message: Any) -> None:
        self.kind = kind
        self.name = name
        self.data = data
        self._message = message
        self._outcome: Value | DecodeError | None = None

    def value(self) -> Value:
        """The typed value, built once; raises the same `DecodeError` every time when the resource makes no sense."""
        self.settle()
        assert self._outcome is not None
        if isinstance(self._outcome, DecodeError):
            raise self._outcome.kept()
        return self._outcome

    def settle(self) -> None:
        """Find out now what `value` will say."""
        if self._outcome is None:
            self._outcome = self._build()

    @property
    def error(self) -> DecodeError | None:
        """What `value` found wrong, if it was asked already."""
        return self._outcome if isinstance(self._outcome, DecodeError) else None

    def _build(self) -> Value | DecodeError:
        message_type, _, decode = _MESSAGES[self.kind]
        message, self._message = self._message, None  # not needed twice, and larger than what it says
        if message is None:
            message = message_type.FromString(self.data)
        try:
            with bounded_patterns():
                return decode(message)
        except FieldError as error:
            return DecodeError(self.kind, self.name, error.field, error.reason)
        except Exception as error:
            # Ours to mend; but what comes from outside costs its own resource and never the exchanger.
            logger.exception("%s %.200r cannot be decoded", self.kind, self.name)
            return DecodeError(self.kind, self.name, "", f"cannot be decoded: {error!r}")


Content = Parsed | bytes  # bytes: what came by wildcard and nobody has looked at, checked as `parse` checks


def content(kind: ResourceType, name: str, type_url: str, data: bytes | memoryview) -> Content:
    """First decode, in the form to keep: of 200,000 clusters a program calls three. Raises `DecodeError`."""
    parsed = parse(kind, name, type_url, data)
    return parsed.data if kind.by_wildcard else parsed


def parse(kind: ResourceType, name: str, type_url: str, data: bytes | memoryview) -> Parsed:
    """First decode: is it protobuf of the promised type, and is the name inside the name outside?

    Raises `DecodeError`.
    """
    if len(name) > LONGEST_NAME:
        shown = f"{name[:_SHOWN]}..."
        raise DecodeError(kind, shown, "", f"has a name of more than {LONGEST_NAME} characters")
    if type_url != kind.value:
        raise DecodeError(kind, name, "", f"is packed as {type_url[:200] or 'nothing'}")
    if len(data) > LARGEST_RESOURCE or isinstance(data, memoryview):
        raise DecodeError(kind, name, "", f"is of {len(data)} bytes, more than {LARGEST_RESOURCE} are too many")
    message_type, name_field, _ = _MESSAGES[kind]
    try:
        message = message_type.FromString(data)
    except WireError as error:
        raise DecodeError(kind, name, "", f"is not valid protobuf: {error}") from None
    inner = getattr(message, name_field)
    if not inner:
        raise DecodeError(kind, name, name_field, "is empty")
    if name != inner:
        raise DecodeError(kind, name, name_field, f"says {inner!r}")
    # Of what comes by wildcard most is never looked at: its message, larger than its bytes, is made again if it is.
    return Parsed(kind, inner, data, None if kind.by_wildcard else message)
