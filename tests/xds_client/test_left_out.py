"""What a mesh asks for and this release does not carry out is named: once in the log, and in the status."""

from __future__ import annotations

import logging

import pytest
from google.protobuf import json_format

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, response, route, subset
from xds_client import Target
from xds_client.decode import parse
from xds_client.resource_type import ResourceType

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE
V1 = subset("v1")
DEFAULT_RETRIES = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts"}],
    "host_selection_retry_max_attempts": 5,
}
A_HEADER = [{"header": {"key": "a", "value": "b"}}]
NO_LIMIT = 2**32 - 1
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
OF_A_FILTER = {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}  # what it says is not looked at


def with_route(said, host=None):
    """A table of this one route, as JSON says it."""
    message = route(REVIEWS_ROUTE, V1)
    del message.virtual_hosts[0].routes[:]
    whole = {"match": {"prefix": "/"}, **said, "route": {"cluster": V1, **said.get("route", {})}}
    json_format.ParseDict(whole, message.virtual_hosts[0].routes.add())
    json_format.ParseDict(host or {}, message.virtual_hosts[0])
    return message


def left_out_of_route(said, host=None):
    message = with_route(said, host)
    table = parse(ROUTE, message.name, ROUTE.value, message.SerializeToString()).value()
    return table.virtual_hosts[0].routes[0].left_out


def with_cluster(said, name=V1):
    return json_format.ParseDict(said, cluster(name))


def left_out_of_cluster(said):
    return parse(CLUSTER, V1, CLUSTER.value, with_cluster(said).SerializeToString()).value().left_out


def http_options(said):
    return {"typed_extension_protocol_options": {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **said}}}


@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ({"route": {"retry_policy": {"retry_on": "5xx", "num_retries": 3}}}, "retries (3 on 5xx)"),
        (
            {"route": {"retry_policy": {**DEFAULT_RETRIES, "per_try_timeout": "1s"}}},
            f"retries (2 on {DEFAULT_RETRIES['retry_on']})",
        ),
        ({"typed_per_filter_config": {"envoy.filters.http.fault": OF_A_FILTER}}, "fault"),
        ({"typed_per_filter_config": {"envoy.filters.http.cors": OF_A_FILTER}}, "corsPolicy"),
        ({"typed_per_filter_config": {"envoy.filters.http.lua": OF_A_FILTER}}, "envoy.filters.http.lua"),
        ({"route": {"request_mirror_policies": [{"cluster": "m"}]}}, "mirror"),
        ({"route": {"prefix_rewrite": "/a"}}, "rewrite"),
        ({"route": {"host_rewrite_literal": "a"}}, "rewrite"),
        ({"request_headers_to_add": A_HEADER}, "headers"),
        ({"response_headers_to_remove": ["a"]}, "headers"),
    ],
)
def test_what_a_route_asks_for(said, left_out):
    assert left_out_of_route(said) == (left_out,)


def test_what_clusters_of_a_route_and_its_virtual_host_ask_for():
    weighted = {"clusters": [{"name": V1, "weight": 1, "request_headers_to_add": A_HEADER}]}
    message = with_route({})
    json_format.ParseDict({"weighted_clusters": weighted}, message.virtual_hosts[0].routes[0].route)
    table = parse(ROUTE, message.name, ROUTE.value, message.SerializeToString()).value()
    assert table.virtual_hosts[0].routes[0].left_out == ("headers",)
    assert left_out_of_route({}, {"retry_policy": {"retry_on": "5xx"}}) == ("retries (1 on 5xx)",)
    assert left_out_of_route({}, {"response_headers_to_add": A_HEADER}) == ("headers",)


@pytest.mark.parametrize("retries", [DEFAULT_RETRIES, {"retry_on": "5xx", "num_retries": 0}, None])
def test_what_istio_says_of_every_route_is_nobodys_wish(retries):
    said = {"timeout": "0s", "max_grpc_timeout": "0s", **({"retry_policy": retries} if retries else {})}
    assert (
        left_out_of_route({"route": said, "decorator": {"operation": "o"}}, {"include_request_attempt_count": True})
        == ()
    )


@pytest.mark.parametrize(
    ("said", "left_out"),
    [
        ({"lb_policy": "RING_HASH"}, "loadBalancer.consistentHash (RING_HASH)"),
        ({"lb_policy": "MAGLEV"}, "loadBalancer.consistentHash (MAGLEV)"),
        (
            {"circuit_breakers": {"thresholds": [{"max_requests": 1, "max_retries": NO_LIMIT}]}},
            "connectionPool.http.http2MaxRequests (1)",
        ),
        (
            {"circuit_breakers": {"thresholds": [{"max_connections": 7}]}},
            "connectionPool.tcp.maxConnections (7)",
        ),
        ({"outlier_detection": {}}, "outlierDetection"),
        ({"least_request_lb_config": {"slow_start_config": {}}}, "loadBalancer.warmup"),
        ({"round_robin_lb_config": {"slow_start_config": {}}}, "loadBalancer.warmup"),
        ({"common_lb_config": {"locality_weighted_lb_config": {}}}, "loadBalancer.localityLbSetting.distribute"),
        ({"upstream_connection_options": {"tcp_keepalive": {}}}, "connectionPool.tcp.tcpKeepalive"),
        (
            http_options({"common_http_protocol_options": {"max_requests_per_connection": 1}}),
            "connectionPool.http.maxRequestsPerConnection",
        ),
        (
            http_options({"explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 1}}}),
            "connectionPool.http.maxConcurrentStreams",
        ),
    ],
)
def test_what_a_cluster_asks_for(said, left_out):
    assert left_out_of_cluster(said) == (left_out,)


def test_what_istio_says_of_every_cluster_is_nobodys_wish():
    breakers = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), NO_LIMIT)
    said = {
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [breakers, {"priority": "HIGH", "max_requests": 1}]},
        "common_lb_config": {"healthy_panic_threshold": {}},
        **http_options({"explicit_http_config": {"http2_protocol_options": {}}}),
    }
    assert left_out_of_cluster(said) == ()


def serve(wire, route_said, cluster_said):
    wire.receive(response(CLUSTER, with_cluster(cluster_said)))
    wire.receive(response(ROUTE, with_route(route_said)))
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1")))


def warned(caplog):
    lines = [record.getMessage() for record in caplog.records if record.name == "proxyless.xds_client.omissions"]
    caplog.clear()
    return lines


def test_each_route_or_cluster_and_reason_is_one_warning_and_stands_in_the_status(wire, caplog):
    caplog.set_level(logging.WARNING)
    observations = [wire.observe(Target("reviews", 9080)), wire.observe(Target("reviews.demo", 9080))]
    asks = {"name": "main", "route": {"request_mirror_policies": [{"cluster": "m"}]}}
    serve(wire, asks, {"outlier_detection": {}})
    expected = (
        f"cluster {V1} asks for outlierDetection, which this release does not carry out",
        f"route 1 (main) of {REVIEWS_ROUTE} asks for mirror, which this release does not carry out",
    )
    del observations
    assert tuple(warned(caplog)) == wire.loop.status().left_out == expected
    serve(wire, asks, {"outlier_detection": {"consecutive_5xx": 1}})
    assert warned(caplog) == []
    serve(wire, {}, {"outlier_detection": {}})
    assert (warned(caplog), wire.loop.status().left_out) == ([], expected[:1])
    serve(wire, asks, {})
    assert (warned(caplog), wire.loop.status().left_out) == ([expected[1]], expected[1:])


def test_what_is_asked_for_anew_with_every_push_fills_no_log(wire, caplog):
    caplog.set_level(logging.WARNING)
    wire.observe(Target("reviews", 9080))
    for number in range(500):
        serve(wire, {"name": f"n{number}", "route": {"request_mirror_policies": [{"cluster": "m"}]}}, {})
    assert len(warned(caplog)) == 20
    wire.pass_time(20)
    serve(wire, {"name": "later", "route": {"request_mirror_policies": [{"cluster": "m"}]}}, {})
    [line, more] = warned(caplog)
    assert "(later)" in line
    assert more == "and 480 more that this release does not carry out; status() has them"


def malformed_endpoints(*categories):
    said = endpoints(V1, "10.0.0.1")
    for category in categories:
        said.policy.drop_overloads.add(category=category).drop_percentage.denominator = 9
    place = said.endpoints[0].lb_endpoints[0]
    place.metadata.filter_metadata["x"]["n"] = float("nan")
    place.endpoint.health_check_config.port_value = 1
    said.endpoints[0].lb_endpoints.add().CopyFrom(place)
    said.endpoints[0].lb_endpoints[1].endpoint.address.socket_address.address = "10.0.0.2"
    return said


def test_what_cannot_be_read_is_told_apart_from_what_is_not_carried_out(wire):
    wire.observe(Target("reviews", 9080))
    asks = with_cluster({"outlier_detection": {}})
    asks.cleanup_interval.nanos = -1
    wire.receive(response(CLUSTER, asks))
    table = with_route({"name": "main", "route": {"request_mirror_policies": [{"cluster": "m"}]}})
    table.virtual_hosts[0].routes[0].route.idle_timeout.nanos = -1
    wire.receive(response(ROUTE, table))
    wire.receive(response(ENDPOINT, malformed_endpoints("a")))
    lines = wire.loop.status().left_out
    asked, unread = ([line for line in lines if said in line] for said in ("asks for", "cannot be read"))
    assert sorted((*asked, *unread)) == list(lines)
    assert [line.partition(" asks for ")[2].partition(",")[0] for line in asked] == ["outlierDetection", "mirror"]
    [cluster_line, in_policy, in_metadata, route_line] = sorted(unread)
    assert "cleanup_interval: 0 s and -1 ns" in cluster_line
    assert "metadata.filter_metadata['x']: nan is no number" in in_metadata
    assert "drop_overloads[0].drop_percentage.denominator: 9 is not supported" in in_policy
    assert "route.idle_timeout: 0 s and -1 ns" in route_line


def test_of_endless_losses_in_endpoints_some_are_told():
    said = malformed_endpoints()
    for number in range(30):
        said.endpoints[0].lb_endpoints.add().CopyFrom(said.endpoints[0].lb_endpoints[0])
        said.endpoints[0].lb_endpoints[-1].metadata.filter_metadata[f"m{number:02}"]["n"] = float("inf")
        said.endpoints[0].lb_endpoints[-1].metadata.filter_metadata["x"]["n"] = 1
    found = parse(ENDPOINT, V1, ENDPOINT.value, said.SerializeToString()).value()
    assert (len(found.left_out), found.left_out[-1]) == (21, "and 11 more")
