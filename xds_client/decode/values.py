"""Small messages that stand everywhere (envoy/config/core/v3, envoy/type/v3). Pure functions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from envoy.config.core.v3 import base_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.fields import FieldError, each, finite, inside, regex_substitution
from xds_client.decode.shape import Shape, Whole, shaped

if TYPE_CHECKING:
    from collections.abc import Callable

_PER_MILLION = {"HUNDRED": 10_000, "TEN_THOUSAND": 100, "MILLION": 1}
_MILLION = 1_000_000
_MOST_ADDED = 1000  # more are refused by Envoy too (route_components.proto)
HEADER_FIELDS = (
    "request_headers_to_add",
    "request_headers_to_remove",
    "response_headers_to_add",
    "response_headers_to_remove",
)


def per_million(part: Any) -> int:
    """A type.v3.FractionalPercent; more than the whole is the whole."""
    unit = part.DESCRIPTOR.fields_by_name["denominator"].enum_type.values_by_number.get(part.denominator)
    if unit is None:
        raise FieldError("denominator", f"{part.denominator} is not supported")
    return min(int(part.numerator) * _PER_MILLION[unit.name], _MILLION)


def fraction(message: Any) -> m.Fraction:
    return m.Fraction(inside("default_value", per_million, message.default_value), message.runtime_key)


def struct(message: Any) -> m.Struct:
    """A google.protobuf.Struct."""
    return m.Struct(tuple((sys.intern(key), value(message.fields[key])) for key in sorted(message.fields)))


def value(message: Any) -> m.Value:
    """A google.protobuf.Value."""
    kind = message.WhichOneof("kind")
    if kind == "struct_value":
        return struct(message.struct_value)
    if kind == "list_value":
        return tuple(value(one) for one in message.list_value.values)
    if kind is None or kind == "null_value":
        return None
    if kind == "number_value":
        return finite(message.number_value)
    plain: str | bool = getattr(message, kind)
    return plain


def header_operations(message: Any) -> m.HeaderOperations:
    """What a route, a virtual host, a table or a share of the requests says about headers."""
    for name in ("request_headers_to_add", "response_headers_to_add"):
        if len(getattr(message, name)) > _MOST_ADDED:
            raise FieldError(name, f"has more than {_MOST_ADDED} entries")
    return m.HeaderOperations(
        each("request_headers_to_add", header_to_add, message.request_headers_to_add),
        tuple(message.request_headers_to_remove),
        each("response_headers_to_add", header_to_add, message.response_headers_to_add),
        tuple(message.response_headers_to_remove),
    )


def header_to_add(message: Any) -> m.HeaderToAdd:
    said = message.header
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    number = message.append_action
    name = action.Name(number) if number in action.values() else str(number)
    if message.HasField("append") and not message.append.value:
        name = "OVERWRITE_IF_EXISTS_OR_ADD"
    return m.HeaderToAdd(m.HeaderValue(said.key, said.value, bytes(said.raw_value)), name, message.keep_empty_value)


def regex_rewrite(message: Any) -> m.RegexRewrite:
    regex_substitution(message)
    return m.RegexRewrite(message.pattern.regex, message.substitution)


def data_source(message: Any) -> m.DataSource:
    kind = message.WhichOneof("specifier")
    inline = {"inline_string": message.inline_string.encode(), "inline_bytes": bytes(message.inline_bytes)}.get(kind)
    return m.DataSource(
        message.filename if kind == "filename" else None,
        inline,
        message.environment_variable if kind == "environment_variable" else None,
        message.watched_directory.path,
    )


def runtime_number(message: Any) -> m.RuntimeNumber:
    """RuntimeDouble, RuntimePercent or RuntimeUInt32."""
    said = message.default_value
    return m.RuntimeNumber(finite(float(getattr(said, "value", said))), message.runtime_key)


def extension(config: Callable[[Any], Any]) -> Callable[[Any], m.Extension]:
    """A TypedExtensionConfig, or whatever else has a name and a ``typed_config``; ``config`` is asked what that is."""
    return lambda message: m.Extension(
        message.name, config(message.typed_config) if message.HasField("typed_config") else None
    )


for name, convert in {
    "envoy.type.v3.FractionalPercent": per_million,
    "envoy.config.core.v3.RuntimeFractionalPercent": fraction,
    "envoy.config.core.v3.HeaderValueOption": header_to_add,
    "envoy.config.core.v3.DataSource": data_source,
    "envoy.config.core.v3.RuntimeDouble": runtime_number,
    "envoy.config.core.v3.RuntimePercent": runtime_number,
    "envoy.config.core.v3.RuntimeUInt32": runtime_number,
    "google.protobuf.Struct": struct,
    "google.protobuf.Value": value,
    "envoy.type.matcher.v3.RegexMatchAndSubstitute": regex_rewrite,
}.items():
    shaped(name, convert)

HEADERS = {"headers": Whole(HEADER_FIELDS, header_operations)}
metadata = Shape(m.Metadata, base_pb2.Metadata)
header_value = Shape(m.HeaderValue, base_pb2.HeaderValue)
runtime_flag = Shape(m.RuntimeFlag, base_pb2.RuntimeFeatureFlag)


def metadata_of(packed: bytes) -> m.Metadata:
    """Of a core.v3.Metadata; what is malformed in it is left out."""
    return m.Metadata(**metadata.said(base_pb2.Metadata.FromString(packed), []))
