"""Clusters, transport sockets and endpoints: defaults are Envoy's, and nothing turns TLS off by accident."""

from __future__ import annotations

import pytest
from google.protobuf import json_format

from tests.xds_client.mesh import cluster, endpoints
from xds_client import model as m
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def decode(message):
    kind = ResourceType.CLUSTER if message.DESCRIPTOR.name == "Cluster" else ResourceType.ENDPOINT
    name = message.name if kind is ResourceType.CLUSTER else message.cluster_name
    return parse(kind, name, kind.value, message.SerializeToString()).value()


def a_cluster(**said):
    return decode(json_format.ParseDict({"name": "c", "type": "EDS", **said}, cluster("c")))


def an_endpoint(**said):
    message = endpoints("c", "10.0.0.1")
    json_format.ParseDict(said, message.endpoints[0].lb_endpoints[0])
    return decode(message).localities[0].endpoints[0]


def test_defaults_are_envoys():
    plain = a_cluster(eds_cluster_config={})
    assert (plain.eds_name, plain.connect_timeout, plain.lb_policy) == ("c", 5.0, m.LbPolicy.ROUND_ROBIN)
    assert plain.max_requests == 1024
    assert plain.tls is None


def test_the_largest_number_of_requests_is_no_limit_and_only_default_priority_counts():
    thresholds = [{"priority": "HIGH", "max_requests": 7}, {"max_requests": 4294967295}]
    assert a_cluster(circuit_breakers={"thresholds": thresholds}).max_requests is None
    assert a_cluster(circuit_breakers={"thresholds": [{"max_requests": 13}]}).max_requests == 13


def test_the_port_that_original_dst_goes_to_in_place_of_the_dialled_one():
    override = {"upstream_port_override": 19080}
    assert a_cluster(type="ORIGINAL_DST", original_dst_lb_config=override).port_override == 19080
    assert a_cluster(type="ORIGINAL_DST").port_override == 0


@pytest.mark.parametrize("discovery", ["STRICT_DNS", "STATIC"])
def test_inline_endpoints(discovery):
    address = "api.example.org" if discovery == "STRICT_DNS" else "10.0.0.1"
    inline = json_format.MessageToDict(endpoints("c", address))
    decoded = a_cluster(type=discovery, load_assignment=inline)
    assert decoded.inline_endpoints.localities[0].endpoints[0].address == address
    assert decoded.eds_name == ""


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ({"lb_policy": "LOAD_BALANCING_POLICY_CONFIG"}, "lb_policy", "LOAD_BALANCING_POLICY_CONFIG is not supported"),
        (
            {"type": "ORIGINAL_DST", "original_dst_lb_config": {"upstream_port_override": 65536}},
            "original_dst_lb_config.upstream_port_override",
            "65536 is not a port",
        ),
        ({"cluster_type": {"name": "envoy.clusters.aggregate"}}, "cluster_type", "envoy.clusters.aggregate"),
        (
            {"transport_socket_matches": [{"name": "m", "match": {"tlsMode": True}}]},
            "transport_socket_matches[0].match.tlsMode",
            "only string",
        ),
        (
            {"type": "STATIC", "load_assignment": {"endpoints": [{"priority": 129}]}},
            "load_assignment.endpoints[0]",
            "129",
        ),
    ],
)
def test_an_error_names_the_field(said, field, reason):
    with pytest.raises(DecodeError, match=reason) as raised:
        decode(json_format.ParseDict(said, cluster("c")))
    assert raised.value.field.startswith(field)


def test_an_unknown_enum_number_is_an_error():
    message = cluster("c")
    message.lb_policy = 99
    with pytest.raises(DecodeError, match="lb_policy: 99 is not supported"):
        decode(message)


def test_tls_bytes_that_are_no_tls_context():
    message = cluster("c")
    message.transport_socket.typed_config.type_url = TLS
    message.transport_socket.typed_config.value = b"\x0a\xff"
    with pytest.raises(DecodeError, match="not an UpstreamTlsContext"):
        decode(message)


def test_endpoint_fields():
    endpoint = an_endpoint(
        health_status="DRAINING",
        load_balancing_weight=3,
        metadata={
            "filter_metadata": {
                "envoy.transport_socket_match": {"tlsMode": "istio"},
                "istio": {"workload": "reviews-v1;demo;reviews;v1;Kubernetes"},
            }
        },
    )
    assert endpoint == m.Endpoint(
        "10.0.0.1",
        19080,
        3,
        m.HealthStatus.DRAINING,
        (("tlsMode", "istio"),),
        "reviews-v1;demo;reviews;v1;Kubernetes",
    )


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ({"load_balancing_weight": 0}, "load_balancing_weight", "0 is not a weight"),
        (
            {"metadata": {"filter_metadata": {"envoy.transport_socket_match": {"tlsMode": 1}}}},
            "metadata.envoy.transport_socket_match.tlsMode",
            "only string",
        ),
        (
            {"endpoint": {"address": {"pipe": {"path": "/x"}}}},
            "endpoint.address.pipe",
            "only TCP",
        ),
        (
            {"endpoint": {"address": {"envoy_internal_address": {"server_listener_name": "connect_originate"}}}},
            "endpoint.address.envoy_internal_address",
            "only TCP",
        ),
        (
            {"endpoint": {"address": {"socket_address": {"address": "h.example.org", "port_value": 1}}}},
            "endpoint.address.socket_address.address",
            "is not an IP",
        ),
        (
            {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 0}}}},
            "endpoint.address.socket_address.port_value",
            "is not a port",
        ),
        (
            {"endpoint": {"address": {"socket_address": {"protocol": "UDP", "address": "10.0.0.1", "port_value": 1}}}},
            "endpoint.address.socket_address.protocol",
            "only TCP",
        ),
    ],
)
def test_an_endpoint_error_names_the_field(said, field, reason):
    message = endpoints("c", "10.0.0.1", "10.0.0.2")
    message.endpoints[0].lb_endpoints[1].Clear()
    good = {"endpoint": {"address": {"socket_address": {"address": "10.0.0.2", "port_value": 1}}}}
    json_format.ParseDict(good | said, message.endpoints[0].lb_endpoints[1])
    with pytest.raises(DecodeError, match=reason) as raised:
        decode(message)
    assert raised.value.field == f"endpoints[0].lb_endpoints[1].{field}"


def test_of_duplicate_addresses_in_a_priority_the_first_is_kept_as_envoy_does():
    message = endpoints("c", "10.0.0.1", "10.0.0.1", "10.0.0.2")
    message.endpoints[0].lb_endpoints[1].load_balancing_weight.value = 9
    again = message.endpoints.add()
    again.CopyFrom(message.endpoints[0])
    again.priority = 1
    first, second = decode(message).localities
    assert [(e.address, e.weight) for e in first.endpoints] == [("10.0.0.1", 1), ("10.0.0.2", 1)]
    assert len(second.endpoints) == 2, "another priority is another set of hosts"


def test_the_typed_value_is_built_once_and_its_error_too():
    kind = ResourceType.CLUSTER
    good = parse(kind, "c", kind.value, cluster("c").SerializeToString())
    assert good.value() is good.value()
    broken = cluster("c")
    broken.lb_policy = 99
    bad = parse(kind, "c", kind.value, broken.SerializeToString())
    assert bad.error is None
    errors = []
    for _ in range(2):
        with pytest.raises(DecodeError) as raised:
            bad.value()
        errors.append(raised.value)
    assert errors[0] is errors[1] is bad.error


def test_what_a_cluster_asks_for_is_the_value_that_anybody_would_build():
    said = {
        "circuit_breakers": {"thresholds": [{"priority": "HIGH", "max_retries": 3}]},
        "outlier_detection": {"consecutive_5xx": 7, "interval": "1.5s"},
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": 64},
        "common_lb_config": {"healthy_panic_threshold": {"value": 30}, "locality_weighted_lb_config": {}},
        "metadata": {"filter_metadata": {"istio": {"config": "/a", "services": [{"host": "h"}]}}},
    }
    one, other = a_cluster(**said), a_cluster(**said, alt_stat_name="other")
    assert one.terms == m.ClusterTerms(
        circuit_breakers=m.CircuitBreakers((m.Thresholds("HIGH", max_retries=3),)),
        outlier_detection=m.OutlierDetection(consecutive_5xx=7, interval=1.5),
        ring_hash_lb_config=m.RingHash(minimum_ring_size=64),
        common_lb_config=m.CommonBalancing(healthy_panic_threshold=30.0, locality_weighted_lb_config=True),
    )
    assert one.terms is other.terms, "what many clusters say is one value"
    built = m.Metadata((("istio", m.Struct((("config", "/a"), ("services", (m.Struct((("host", "h"),)),))))),))
    assert one.metadata.value == built == other.metadata.value
    assert one.metadata == other.metadata
    assert hash(one.metadata) == hash(other.metadata)
    assert one.metadata.get("istio", "config") == "/a"
    assert one == other


def test_a_part_of_a_cluster_that_is_malformed_and_not_carried_out_costs_itself_only_and_is_named():
    said = a_cluster(cleanup_interval="1s", outlier_detection={"max_ejection_percent": 9})
    message = cluster("c")
    message.cleanup_interval.nanos = -1
    message.outlier_detection.max_ejection_percent.value = 9
    broken = decode(message)
    assert broken.terms.cleanup_interval is None
    assert broken.terms.outlier_detection == said.terms.outlier_detection
    assert any(what.startswith("cleanup_interval: 0 s and -1 ns are no duration") for what in broken.unread)
    assert broken.left_out == ("outlierDetection",), "nobody asked for what is malformed"
