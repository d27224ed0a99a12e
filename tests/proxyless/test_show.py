"""What the tree says of forms that the served mesh of the other tests does not have."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from rich.console import Console

from proxyless.plain import plain
from proxyless.show import config_tree
from xds_client import ResourceType, Target, TargetConfig
from xds_client.errors import DecodeError
from xds_client.model import (
    Cluster,
    ClusterConfig,
    ClusterLoadAssignment,
    ClusterTerms,
    DiscoveryType,
    FilterChainMatch,
    HeaderMatch,
    HeaderOperations,
    InlineCertificate,
    LbPolicy,
    OutlierDetection,
    PathMatch,
    PathMatchKind,
    PresentMatch,
    QueryParameterMatch,
    RangeMatch,
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    StringMatch,
    StringMatchKind,
    SystemRoots,
    UnsupportedAction,
    UpstreamTls,
    VirtualHost,
)

MATCH = RouteMatch(PathMatch(PathMatchKind.SEPARATED_PREFIX, "/a", case_sensitive=False))
ROUTE = Route("[no-entry]", MATCH, UnsupportedAction("redirect"))


def tree(route=ROUTE, *clusters, whole=False):
    host = VirtualHost("reviews", ("*",), (route,))
    console = Console(width=200, color_system=None)
    with console.capture() as captured:
        config = TargetConfig(Target("reviews", 80), "reviews", "reviews:80", host, clusters)
        console.print(config_tree(config, whole=whole))
    return captured.get()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (HeaderMatch("a", PresentMatch()), "a present"),
        (HeaderMatch("a", PresentMatch(), invert=True), "a absent"),
        (HeaderMatch("a", PresentMatch(present=False)), "a absent"),
        (HeaderMatch("a", RangeMatch(1, 5)), "a from 1 to below 5"),
        (HeaderMatch("a", StringMatch(StringMatchKind.REGEX, "x.*")), "a regex x.*"),
        (
            HeaderMatch("a", StringMatch(StringMatchKind.PREFIX, "x", ignore_case=True), invert=True),
            "a not prefix x (any case)",
        ),
    ],
)
def test_header_matches(header, said):
    route = replace(ROUTE, match=replace(MATCH, headers=(header,)))
    assert f"1. path separated prefix /a (any case) and {said}  [no-entry]\n" in tree(route)


def test_a_share_of_the_requests():
    assert "and 2.5 % of requests" in tree(replace(ROUTE, match=replace(MATCH, fraction_per_million=25_000)))


def test_an_action_that_is_not_carried_out_is_named():
    assert "redirect: not carried out by this release" in tree()


def test_clusters_that_take_no_call_say_why():
    cluster = Cluster("empty", DiscoveryType.EDS)
    shown = tree(
        ROUTE,
        ClusterConfig("broken", None, None, "cluster 'broken': there is none"),
        ClusterConfig("empty", cluster, ClusterLoadAssignment("empty", ())),
    )
    assert "cannot be used: cluster 'broken': there is none" in shown
    assert "connect within 5 s\n" in shown
    assert "no endpoints" in shown


def test_what_is_not_carried_out_stands_beside_what_is_obeyed():
    cluster = Cluster("ring", DiscoveryType.EDS, lb_policy=LbPolicy.RING_HASH, left_out=("outlierDetection",))
    shown = tree(
        replace(ROUTE, left_out=("mirror",)),
        ClusterConfig("ring", cluster, ClusterLoadAssignment("ring", ())),
    )
    assert "not carried out: mirror\n" in shown
    assert "EDS, RING_HASH as weighted round robin, connect within 5 s\n" in shown
    assert "not carried out: outlierDetection\n" in shown


def test_plain_values():
    error = DecodeError(ResourceType.CLUSTER, "a", "", "bad")
    assert plain({ResourceType.CLUSTER: frozenset({"b", "a"}), "errors": (error,)}) == {
        "Cluster": ["a", "b"],
        "errors": ["Cluster 'a': bad"],
    }
    assert plain(ClusterConfig("a", None, None, "why"))["endpoints"] is None


def test_plain_says_where_tls_material_comes_from_and_never_a_key():
    tls = UpstreamTls(certificate=InlineCertificate(b"CHAIN", b"KEY"), roots=SystemRoots())
    assert plain(tls)["certificate"] == {"certificate": "CHAIN"}
    assert plain(tls)["roots"] == "SystemRoots"
    assert plain(UpstreamTls())["certificate"] == "MeshSecret"
    match = FilterChainMatch(prefix_ranges=(ip_network("10.0.0.0/8"),))
    assert plain(match)["prefix_ranges"] == ["10.0.0.0/8"]


def test_what_else_the_mesh_said_is_shown():
    forward = RouteAction(cluster="c", idle_timeout=3.0, retry_policy=RetryPolicy("5xx", per_try_timeout=1.5))
    route = replace(ROUTE, forward=forward, headers=HeaderOperations(request_remove=("x-a",)))
    terms = ClusterTerms(outlier_detection=OutlierDetection(consecutive_5xx=7))
    cluster = Cluster("c", DiscoveryType.EDS, terms=terms)
    assert "said" not in tree(route, ClusterConfig("c", cluster, ClusterLoadAssignment("c", ())))
    shown = tree(route, ClusterConfig("c", cluster, ClusterLoadAssignment("c", ())), whole=True)
    assert "said: idle_timeout: 3.0\n" in shown
    assert 'said: retry_policy: {"retry_on": "5xx", "per_try_timeout": 1.5}\n' in shown
    assert 'said: headers: {"request_remove": ["x-a"]}\n' in shown
    assert 'said: outlier_detection: {"consecutive_5xx": 7}\n' in shown


def test_routes_of_other_calls_are_shown_as_such():
    by_query = replace(MATCH, query_parameters=(QueryParameterMatch("q", StringMatch(StringMatchKind.EXACT, "1")),))
    assert "and query parameter q exact 1, so no gRPC call" in tree(replace(ROUTE, match=by_query))
    assert "1. CONNECT, so no gRPC call" in tree(replace(ROUTE, match=replace(MATCH, connect=True)))
