"""Whatever the mesh says can be told as JSON, which knows no NaN and no infinite numbers."""

from __future__ import annotations

import json
import math

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import value_pb2
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value

from proxyless.plain import plain
from tests.xds_client.captured import FOLDER, captured
from tests.xds_client.mesh import cluster, endpoints
from tests.xds_client.test_whole_model import named, sample
from xds_client.decode import parse
from xds_client.decode import shape as tables
from xds_client.decode.fields import FieldError
from xds_client.decode.matching import value_match
from xds_client.decode.values import value as json_value
from xds_client.model import NO_METADATA
from xds_client.resource_type import ResourceType

NO_NUMBERS = (math.nan, math.inf, -math.inf)


def told(value):
    return json.loads(json.dumps(plain(value), allow_nan=False))


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.json")))
def test_each_capture_of_istiod_is_json(file):
    for kind, name, data in captured(file):
        value = parse(kind, name, kind.value, data).value()
        assert name in told(value).values()


WHOLE = [one for one in tables.ALL if not one.by_hand]


@pytest.mark.parametrize("one", WHOLE, ids=lambda one: f"{one.made.__name__}-{named(one)}")
def test_each_value_of_the_model_is_json(one):
    assert isinstance(told(one(one.message())), dict), "also where it says nothing"
    for field in one.message.DESCRIPTOR.fields:
        if field.name in one.covers():
            message = json_format.ParseDict({field.name: sample(field)}, one.message())
            assert isinstance(told(one(message)), dict), field.name


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_number_that_is_none_is_left_out_and_named(number):
    said = cluster("c")
    said.common_lb_config.healthy_panic_threshold.value = number
    said.circuit_breakers.thresholds.add().retry_budget.budget_percent.value = 20
    said.upstream_config.name = "u"
    found = parse(ResourceType.CLUSTER, "c", ResourceType.CLUSTER.value, said.SerializeToString()).value()
    again = parse(ResourceType.CLUSTER, "c", ResourceType.CLUSTER.value, said.SerializeToString()).value()
    assert found == again
    assert found.terms.common_lb_config is None
    assert found.terms.circuit_breakers is not None
    assert told(found)


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_number_that_is_none_is_refused_wherever_it_stands(number):
    with pytest.raises(FieldError, match="no number"):
        json_value(Value(number_value=number))
    for said in ({"exact": number}, {"range": {"start": number, "end": 1.0}}, {"range": {"end": number}}):
        matcher = value_pb2.ValueMatcher(double_match=said)
        with pytest.raises(FieldError, match="no number"):
            value_match(matcher)
    for one in WHOLE:
        for field in one.message.DESCRIPTOR.fields:
            if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT) and field.name in one.covers():
                message = one.message()
                getattr(message, field.name).append(number) if field.is_repeated else setattr(
                    message, field.name, number
                )
                with pytest.raises(FieldError, match="no number"):
                    one(message)
    said = endpoints("c", "10.0.0.1")
    said.endpoints[0].lb_endpoints[0].metadata.filter_metadata["x"]["n"] = number
    kind = ResourceType.ENDPOINT
    found = parse(kind, "c", kind.value, said.SerializeToString()).value()
    assert found.localities[0].endpoints[0].metadata == NO_METADATA


@pytest.mark.parametrize("message", [cluster_pb2.Cluster, route_components_pb2.Route, route_components_pb2.RouteMatch])
def test_a_table_that_is_only_a_part_makes_no_value(message):
    [one] = [one for one in tables.ALL if one.message is message]
    assert one.by_hand
    assert tables._SHAPES.get(message.DESCRIPTOR.full_name) is not one
    with pytest.raises(AssertionError):
        one(message())
