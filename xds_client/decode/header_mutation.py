"""Changes of headers as policies write them (envoy/config/common/mutation_rules/v3). One table for each message."""

from __future__ import annotations

from typing import Any

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2  # type: ignore[import-untyped]
from envoy.config.core.v3 import base_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.extensions import known_extension
from xds_client.decode.fields import inside, string_match
from xds_client.decode.shape import Shape, Whole, enum_name
from xds_client.decode.values import value

_ACTION = enum_name(base_pb2.KeyValueAppend.DESCRIPTOR.fields_by_name["action"].enum_type)


def _key_matcher(message: Any) -> m.StringMatch:
    return inside("key_matcher", string_match, message.key_matcher)


header_mutation = Shape(m.HeaderMutation, mutation_rules_pb2.HeaderMutation, by={"remove_on_match": _key_matcher})
query_parameter_mutation = Shape(
    m.QueryParameterMutation,
    base_pb2.KeyValueMutation,
    wholes={
        "key": Whole(("append",), lambda said: said.append.record.key),
        "value": Whole(("append",), lambda said: value(said.append.record.value)),
        "action": Whole(("append",), lambda said: _ACTION(said.append.action)),
    },
)
mutations = Shape(m.Mutations, header_mutation_pb2.Mutations)
mutation_rules = Shape(m.HeaderMutationRules, mutation_rules_pb2.HeaderMutationRules)
of_filter = Shape(m.HeaderMutationFilter, header_mutation_pb2.HeaderMutation)
of_route = Shape(m.HeaderMutationFilter, header_mutation_pb2.HeaderMutationPerRoute)
known_extension(header_mutation_pb2.HeaderMutation, of_filter)
known_extension(header_mutation_pb2.HeaderMutationPerRoute, of_route)
