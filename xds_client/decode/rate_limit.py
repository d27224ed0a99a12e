"""Rate limits (envoy/config/route/v3, envoy/extensions/filters/*/local_ratelimit/v3): one table for each message."""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.config.route.v3 import route_components_pb2 as rds  # type: ignore[import-untyped]
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.network.local_ratelimit.v3 import (  # type: ignore[import-untyped]
    local_rate_limit_pb2 as network_pb2,
)
from envoy.type.v3 import token_bucket_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.extensions import as_it_came, known_extension, named_extension
from xds_client.decode.fields import each
from xds_client.decode.matching import header_match, query_parameter_match
from xds_client.decode.shape import OneOf, Shape, enum_name

_NAMES = {
    "request_headers": "header_name",
    "query_parameters": "query_parameter_name",
    "generic_key": "descriptor_value",
}


_SOURCE = enum_name(rds.RateLimit.Action.MetaData.DESCRIPTOR.fields_by_name["source"].enum_type)


def _by_value(kind: str, said: Any) -> m.DescribedBy:
    name = getattr(said, _NAMES[kind]) if kind in _NAMES else ""
    return m.DescribedBy(kind, name, getattr(said, "descriptor_key", ""), getattr(said, "skip_if_absent", False))


def _by_metadata(said: Any) -> m.DescribedByMetadata:
    source = _SOURCE(said.source) if hasattr(said, "source") else "DYNAMIC"
    key = said.metadata_key
    path = tuple(segment.key for segment in key.path)
    skip = getattr(said, "skip_if_absent", False)
    return m.DescribedByMetadata(said.descriptor_key, key.key, path, said.default_value, source, skip)


def _by_match(said: Any) -> m.DescribedByMatch:
    return m.DescribedByMatch(
        said.descriptor_key,
        said.descriptor_value,
        said.expect_match.value if said.HasField("expect_match") else True,
        each("headers", header_match, getattr(said, "headers", ())),
        each("query_parameters", query_parameter_match, getattr(said, "query_parameters", ())),
    )


_VALUES = ("source_cluster", "destination_cluster", "remote_address", *_NAMES)
masked_address = Shape(m.DescribedByAddress, rds.RateLimit.Action.MaskedRemoteAddress)
action = OneOf(
    rds.RateLimit.Action,
    "action_specifier",
    {
        **{kind: partial(_by_value, kind) for kind in _VALUES},
        "metadata": _by_metadata,
        "dynamic_metadata": _by_metadata,
        "masked_remote_address": masked_address,
        "header_value_match": _by_match,
        "query_parameter_value_match": _by_match,
        "extension": named_extension,
    },
)
rate_limit = Shape(m.RateLimit, rds.RateLimit, by={"limit": as_it_came, "hits_addend": as_it_came})
token_bucket = Shape(m.TokenBucket, token_bucket_pb2.TokenBucket)
descriptor = Shape(
    m.LocalRateLimitDescriptor,
    ratelimit_pb2.LocalRateLimitDescriptor,
    by={"entries": lambda said: (said.key, said.value)},
)
local_rate_limit = Shape(
    m.LocalRateLimit,
    local_rate_limit_pb2.LocalRateLimit,
    by={"status": lambda said: int(said.code), "local_cluster_rate_limit": lambda _: True},
)
network_local_rate_limit = Shape(
    m.NetworkLocalRateLimit, network_pb2.LocalRateLimit, by={"runtime_enabled": as_it_came}
)
known_extension(local_rate_limit_pb2.LocalRateLimit, local_rate_limit)
known_extension(network_pb2.LocalRateLimit, network_local_rate_limit)
