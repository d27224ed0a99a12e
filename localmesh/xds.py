"""The one door to envoy-data-plane: its messages by short names, and the few values that need help to be written.

Importing it warns many times; that is silenced here, around the import alone. Used from any thread.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from betterproto2 import encode_varint

with warnings.catch_warnings():
    # envoy-data-plane decorates messages that hold deprecated fields: 89 warnings that say nothing to a user
    warnings.simplefilter("ignore")
    from envoy_data_plane.envoy.config.cluster import v3 as cluster
    from envoy_data_plane.envoy.config.core import v3 as core
    from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
    from envoy_data_plane.envoy.config.listener import v3 as listener
    from envoy_data_plane.envoy.config.route import v3 as route
    from envoy_data_plane.envoy.extensions.filters.common.fault import v3 as common_fault
    from envoy_data_plane.envoy.extensions.filters.http.cors import v3 as cors
    from envoy_data_plane.envoy.extensions.filters.http.fault import v3 as fault
    from envoy_data_plane.envoy.extensions.filters.http.grpc_stats import v3 as grpc_stats
    from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
    from envoy_data_plane.envoy.extensions.filters.listener.http_inspector import v3 as http_inspector
    from envoy_data_plane.envoy.extensions.filters.listener.original_dst import v3 as original_dst
    from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector import v3 as tls_inspector
    from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as http_connection_manager
    from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy import v3 as tcp_proxy
    from envoy_data_plane.envoy.extensions.network.dns_resolver.cares import v3 as cares
    from envoy_data_plane.envoy.extensions.request_id.uuid import v3 as uuid
    from envoy_data_plane.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
    from envoy_data_plane.envoy.extensions.retry.priority.previous_priorities import v3 as previous_priorities
    from envoy_data_plane.envoy.extensions.transport_sockets.raw_buffer import v3 as raw_buffer
    from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
    from envoy_data_plane.envoy.extensions.upstreams.http import v3 as http
    from envoy_data_plane.envoy.service.discovery import v3 as discovery
    from envoy_data_plane.envoy.type import v3 as types
    from envoy_data_plane.envoy.type.matcher import v3 as matcher
    from envoy_data_plane.google import protobuf, rpc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    import betterproto2

__all__ = [
    "add_deprecated",
    "add_deprecated_flag",
    "any_of",
    "cares",
    "cluster",
    "common_fault",
    "core",
    "cors",
    "discovery",
    "duration_bytes",
    "endpoint",
    "exact_matchers",
    "fault",
    "fraction_of_hundred",
    "fraction_of_million",
    "grpc_stats",
    "http",
    "http_connection_manager",
    "http_inspector",
    "istio_metadata",
    "listener",
    "matcher",
    "original_dst",
    "previous_hosts",
    "previous_priorities",
    "protobuf",
    "raw_buffer",
    "route",
    "router",
    "rpc",
    "struct",
    "tcp_proxy",
    "tls",
    "tls_inspector",
    "types",
    "uuid",
]

JsonScalar = str | bool | float


def any_of(message: betterproto2.Message) -> protobuf.Any:
    """The message in an Any (its class need not be imported by whoever reads it with upb)."""
    return protobuf.Any.pack(message)


# pydantic resolves a message's annotations when it is first made, and looks at the maker's names first: a caller who
# has a class of his own called Locality would spoil Node for the process. So it is made here, where nothing is.
core.Node()

_LENGTH_DELIMITED = 2


def add_deprecated(message: betterproto2.Message, number: int, *values: bytes) -> None:
    """Writes messages into a field that Envoy deprecated and istiod still sends, by the field's number.

    Set by name, the field would warn on every serialisation, and only a process-wide filter could silence that; so it
    travels among the unknown fields, which are written as they are.
    """
    for value in values:
        key = encode_varint(number << 3 | _LENGTH_DELIMITED)
        message._unknown_fields += key + encode_varint(len(value)) + value  # noqa: SLF001  # no public way in


def add_deprecated_flag(message: betterproto2.Message, number: int) -> None:
    """The same for a bool that is true."""
    message._unknown_fields += encode_varint(number << 3) + b"\x01"  # noqa: SLF001  # no public way in


def duration_bytes(duration: timedelta) -> bytes:
    return bytes(protobuf.Duration.from_wrapped(duration))


def _value(value: JsonScalar | Sequence[Mapping[str, JsonScalar]]) -> protobuf.Value:
    if isinstance(value, bool):
        return protobuf.Value(bool_value=value)
    if isinstance(value, str):
        return protobuf.Value(string_value=value)
    if isinstance(value, int | float):
        return protobuf.Value(number_value=value)
    items = [protobuf.Value(struct_value=struct(item)) for item in value]
    return protobuf.Value(list_value=protobuf.ListValue(values=items))


def struct(
    fields: Mapping[str, JsonScalar] | Mapping[str, JsonScalar | Sequence[Mapping[str, JsonScalar]]],
) -> protobuf.Struct:
    """A google.protobuf.Struct of scalars and of lists of such structs: all that istiod puts into metadata."""
    return protobuf.Struct(fields={key: _value(value) for key, value in fields.items()})


def istio_metadata(fields: Mapping[str, JsonScalar | Sequence[Mapping[str, JsonScalar]]]) -> core.Metadata:
    return core.Metadata(filter_metadata={"istio": struct(fields)})


def exact_matchers(values: Sequence[str]) -> list[matcher.StringMatcher]:
    return [matcher.StringMatcher(exact=value) for value in values]


def fraction_of_million(percent: float) -> types.FractionalPercent:
    """Istio's Percent, as istiod's translatePercentToFractionalPercent writes it."""
    million = types.FractionalPercentDenominatorType.MILLION
    return types.FractionalPercent(numerator=int(percent * 10000), denominator=million)


def fraction_of_hundred(percent: int) -> types.FractionalPercent:
    hundred = types.FractionalPercentDenominatorType.HUNDRED
    return types.FractionalPercent(numerator=percent, denominator=hundred)
