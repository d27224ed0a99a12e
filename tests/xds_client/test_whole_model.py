"""The model keeps what the mesh said: each field of each message is kept, or is listed with the reason why not.

The tables of `xds_client.decode` are walked against the messages' own descriptors: a field that a later Envoy adds
makes these tests fail, until somebody has decided what becomes of it.
"""

from __future__ import annotations

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

import xds_client.decode  # noqa: F401 - fills the tables
from xds_client.decode import shape as tables

NUMBERS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
# Samples of messages that mean something only if they say certain things.
SAMPLES = {
    "google.protobuf.Duration": "1.5s",
    "google.protobuf.Struct": {"a": [1, "b", None, True, {"c": 2}]},
    "google.protobuf.Value": "v",
    "google.protobuf.Any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"},
    "envoy.config.core.v3.Metadata": {"filter_metadata": {"istio": {"a": 1}}},
    "envoy.config.core.v3.HeaderValueOption": {"header": {"key": "a", "value": "b"}},
    "envoy.config.route.v3.HeaderMatcher": {"name": "a", "string_match": {"exact": "b"}},
    "envoy.config.route.v3.RouteMatch": {"prefix": "/sample"},
    "envoy.type.matcher.v3.StringMatcher": {"exact": "a"},
    "envoy.type.matcher.v3.RegexMatcher": {"regex": "a+"},
    "envoy.type.matcher.v3.RegexMatchAndSubstitute": {"pattern": {"regex": "a"}, "substitution": "b"},
    "envoy.type.v3.FractionalPercent": {"numerator": 3},
    "envoy.config.core.v3.RuntimeFractionalPercent": {"default_value": {"numerator": 3}},
    "envoy.config.core.v3.DataSource": {"inline_string": "a"},
    "envoy.config.core.v3.TypedExtensionConfig": {"name": "a"},
    "envoy.config.core.v3.CidrRange": {"address_prefix": "10.0.0.0", "prefix_len": 8},
    "envoy.config.core.v3.Address": {"socket_address": {"address": "10.0.0.1", "port_value": 1}},
    "envoy.type.matcher.v3.MetadataMatcher": {"filter": "f", "path": [{"key": "k"}], "value": {"bool_match": True}},
    "envoy.type.matcher.v3.FilterStateMatcher": {"key": "k", "string_match": {"exact": "a"}},
    "envoy.type.matcher.v3.ValueMatcher": {"bool_match": True},
    "envoy.type.matcher.v3.PathMatcher": {"path": {"exact": "/a"}},
    "envoy.config.route.v3.RateLimit.Action": {"remote_address": {}},
    "envoy.type.v3.HttpStatus": {"code": "TooManyRequests"},
    "envoy.config.route.v3.ClusterSpecifierPlugin": {"extension": {"name": "a"}},
    "envoy.config.rbac.v3.Permission": {"any": True},
    "envoy.config.rbac.v3.Principal": {"any": True},
    "envoy.config.rbac.v3.Policy": {"permissions": [{"any": True}], "principals": [{"any": True}]},
    "envoy.config.core.v3.KeyValueMutation": {"append": {"record": {"key": "k"}}},
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement": {"provider_name": "p"},
    "envoy.extensions.filters.http.jwt_authn.v3.RequirementRule": {"match": {"prefix": "/sample"}},
    "envoy.config.core.v3.GrpcService": {"envoy_grpc": {"cluster_name": "c"}},
}


def sample(field, depth=0):
    """Something that the field says if it says anything at all, as JSON."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        texts = kind.fields_by_name["key"].cpp_type == FieldDescriptor.CPPTYPE_STRING
        return {"k" if texts else "1": sample(kind.fields_by_name["value"], depth)}
    one = _sample_of_message(kind, depth) if kind is not None else _sample_of_scalar(field)
    return [one] if field.is_repeated else one


def _sample_of_message(kind, depth):
    if kind.full_name in SAMPLES:
        return SAMPLES[kind.full_name]
    if kind.full_name.endswith("Value") and kind.full_name.startswith("google.protobuf."):
        return _sample_of_scalar(kind.fields_by_name["value"])
    first = next((f for f in kind.fields if depth < 4), None)
    return {} if first is None else {first.name: sample(first, depth + 1)}


def _sample_of_scalar(field):
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.type == FieldDescriptor.TYPE_BYTES:
        return "YQ=="
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "a"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    return 1.5 if field.cpp_type in NUMBERS else 7


def named(one):
    return one.message.DESCRIPTOR.full_name


@pytest.mark.parametrize("one", tables.ALL, ids=lambda one: f"{one.made.__name__}-{named(one)}")
def test_each_field_is_kept_or_listed_as_not_kept(one):
    told = {field.name for field in one.message.DESCRIPTOR.fields}
    assert one.covers() | one.not_kept.keys() == told
    assert not one.covers() & one.not_kept.keys()
    assert all(one.not_kept.values()), "each has its reason"


@pytest.mark.parametrize("one", tables.ALL, ids=lambda one: f"{one.made.__name__}-{named(one)}")
def test_what_a_field_says_is_in_the_value(one):
    nothing = one.said(one.message())
    assert one.by_hand or one(one.message()) == one.made(**nothing)
    for field in one.message.DESCRIPTOR.fields:
        if field.name in one.covers() - one.by_hand:
            message = json_format.ParseDict({field.name: sample(field)}, one.message())
            said = one.said(message)
            assert said != nothing, field.name
            if not one.by_hand:
                assert one.made(**said) == one(message)
                assert hash(one(message)) == hash(one(message))


@pytest.mark.parametrize("one", tables.ONE_OFS, ids=named)
def test_each_kind_of_a_condition_is_a_value_or_refused_by_name(one):
    kinds = {field.name for field in one.message.DESCRIPTOR.oneofs_by_name[one.oneof].fields}
    assert one.makers.keys() | one.not_kept.keys() == kinds
    assert not one.makers.keys() & one.not_kept.keys()
    besides = {field.name for field in one.message.DESCRIPTOR.fields} - kinds
    assert set(one.beside) == besides


@pytest.mark.parametrize("one", tables.ALL, ids=lambda one: f"{one.made.__name__}-{named(one)}")
def test_an_enum_of_a_later_envoy_is_told_as_its_number_or_refused(one):
    for field in one.message.DESCRIPTOR.fields:
        if field.enum_type is not None and not field.is_repeated and field.name in one.covers() - one.by_hand:
            message = one.message()
            setattr(message, field.name, 99)
            problems = []
            said = one.said(message, problems)
            assert "99" in said.values() or problems == [f"{field.name}: 99 is no action that this release knows"]
