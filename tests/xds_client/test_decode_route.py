"""Routes: Envoy's rules for a gRPC request, and a clear refusal of what cannot be evaluated."""

from __future__ import annotations

import pytest
from google.protobuf import json_format

from tests.xds_client.mesh import route
from xds_client import model as m
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType

FORWARD = {"cluster": "c", "timeout": "0s"}
REWRITE = "route.regex_rewrite"


def routes(*said):
    """Decode a table whose only virtual host has these routes, written as JSON."""
    message = route("a:1", "c")
    del message.virtual_hosts[0].routes[:]
    for one in said:
        json_format.ParseDict(one, message.virtual_hosts[0].routes.add())
    table = parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()
    return table.virtual_hosts[0].routes


def match(**said):
    [only] = routes({"match": {"prefix": "/", **said}, "route": FORWARD})
    return only.match


def rewriting(pattern, substitution):
    return {**FORWARD, "regex_rewrite": {"pattern": {"regex": pattern}, "substitution": substitution}}


def action(**said):
    [only] = routes({"match": {"prefix": "/"}, "route": said})
    return only.action


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({"path": "/a"}, m.PathMatch(m.PathMatchKind.EXACT, "/a")),
        ({"prefix": "/a", "case_sensitive": False}, m.PathMatch(m.PathMatchKind.PREFIX, "/a", case_sensitive=False)),
        ({"path_separated_prefix": "/a"}, m.PathMatch(m.PathMatchKind.SEPARATED_PREFIX, "/a")),
        ({"safe_regex": {"regex": "/a.*"}, "case_sensitive": False}, m.PathMatch(m.PathMatchKind.REGEX, "/a.*")),
    ],
)
def test_paths(path, expected):
    [only] = routes({"match": path, "route": FORWARD})
    assert only.match.path == expected


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ({}, m.PresentMatch()),
        ({"present_match": False}, m.PresentMatch(present=False)),
        ({"range_match": {"start": "-1", "end": "5"}}, m.RangeMatch(-1, 5)),
        ({"string_match": {"suffix": "x", "ignore_case": True}}, m.StringMatch(m.StringMatchKind.SUFFIX, "x", True)),
        ({"string_match": {"contains": "x"}}, m.StringMatch(m.StringMatchKind.CONTAINS, "x")),
        ({"string_match": {"safe_regex": {"regex": "x+"}}}, m.StringMatch(m.StringMatchKind.REGEX, "x+")),
        ({"exact_match": "x"}, m.StringMatch(m.StringMatchKind.EXACT, "x")),
        ({"prefix_match": "x"}, m.StringMatch(m.StringMatchKind.PREFIX, "x")),
        ({"safe_regex_match": {"regex": "x"}}, m.StringMatch(m.StringMatchKind.REGEX, "x")),
    ],
)
def test_headers(header, rule):
    [condition] = match(headers=[{"name": "X-User", **header}]).headers
    assert condition == m.HeaderMatch("x-user", rule)


def test_header_flags():
    [condition] = match(
        headers=[{"name": "a", "exact_match": "x", "invert_match": True, "treat_missing_header_as_empty": True}]
    ).headers
    assert (condition.invert, condition.missing_as_empty) == (True, True)


@pytest.mark.parametrize(
    ("fraction", "per_million"),
    [({"numerator": 40}, 400_000), ({"numerator": 125, "denominator": "TEN_THOUSAND"}, 12_500), ({}, 0)],
)
def test_fractions(fraction, per_million):
    assert match(runtime_fraction={"default_value": fraction}).fraction_per_million == per_million


def test_routes_that_no_grpc_call_can_take_are_known_by_their_match():
    said = routes(
        {"match": {"prefix": "/", "query_parameters": [{"name": "q", "present_match": True}]}, "route": FORWARD},
        {"match": {"connect_matcher": {}}, "route": FORWARD},
        {"match": {"prefix": "/", "query_parameters": [{"name": "q", "present_match": False}]}, "route": FORWARD},
        {"name": "last", "match": {"prefix": "/", "grpc": {}}, "route": FORWARD},
    )
    assert len(said) == 4
    kept = [route for route in said if route.match.possible_for_grpc]
    assert [r.name for r in kept] == ["", "last"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"redirect": {}}, "redirect"),
        ({"direct_response": {"status": 503}}, "direct_response"),
        ({"non_forwarding_action": {}}, "non_forwarding_action"),
        ({"route": {"cluster_header": "x"}}, "cluster_header"),
        ({"route": {"weighted_clusters": {"clusters": [{"cluster_header": "x"}]}}}, "weighted_clusters.cluster_header"),
    ],
)
def test_actions_we_do_not_carry_out_are_named(said, kind):
    [only] = routes({"match": {"prefix": "/"}, **said})
    assert only.action == m.UnsupportedAction(kind)


def test_weights():
    split = action(
        weighted_clusters={"clusters": [{"name": "a", "weight": 3}, {"name": "b"}, {"name": "c", "weight": 1}]}
    )
    assert [(c.name, c.weight) for c in split.clusters] == [("a", 3), ("b", 0), ("c", 1)]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, 15.0),
        ({"timeout": "0s"}, None),
        ({"timeout": "3s"}, 3.0),
        ({"timeout": "3s", "max_grpc_timeout": "0s"}, None),
        ({"timeout": "3s", "max_grpc_timeout": "1.5s"}, 1.5),
        ({"max_grpc_timeout": "2s", "max_stream_duration": {"grpc_timeout_header_max": "1s"}}, 1.0),
        ({"timeout": "3s", "max_stream_duration": {"max_stream_duration": "2s"}}, 2.0),
        ({"timeout": "0s", "max_stream_duration": {"max_stream_duration": "0s"}}, None),
    ],
)
def test_timeouts_are_envoys_for_a_grpc_request(said, seconds):
    assert action(cluster="c", **said).timeout == seconds


@pytest.mark.parametrize(
    ("said", "field", "reason"),
    [
        ({"match": {"safe_regex": {"regex": "("}}, "route": FORWARD}, "match.safe_regex", "does not compile"),
        ({"match": {"safe_regex": {"regex": "(?=a)"}}, "route": FORWARD}, "match.safe_regex", "invalid perl operator"),
        ({"match": {"safe_regex": {"regex": r"\C"}}, "route": FORWARD}, "match.safe_regex", "is not supported"),
        ({"match": {"safe_regex": {"regex": "a" * 40_000}}, "route": FORWARD}, "match.safe_regex", "pattern too large"),
        ({"match": {"prefix": "/"}, "route": rewriting("(a)", r"\2")}, f"{REWRITE}.substitution", "has 1 groups"),
        ({"match": {"prefix": "/"}, "route": rewriting("(a)", r"\x")}, f"{REWRITE}.substitution", "means nothing"),
        ({"match": {"prefix": "/"}, "route": rewriting("(a", "")}, f"{REWRITE}.pattern", "does not compile"),
        ({"match": {}, "route": FORWARD}, "match.path_specifier", "not a path match"),
        ({"match": {"prefix": "/", "headers": [{"name": ""}]}, "route": FORWARD}, "match.headers[0].name", "empty"),
        (
            {"match": {"prefix": "/", "headers": [{"name": "x", "string_match": {}}]}, "route": FORWARD},
            "match.headers[0].match_pattern",
            "not a string match",
        ),
        ({"match": {"prefix": "/"}}, "action", "missing"),
        ({"match": {"prefix": "/"}, "route": {"cluster": ""}}, "route.cluster", "empty"),
        (
            {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [{"name": "a"}]}}},
            "route.weighted_clusters",
            "add up to 0",
        ),
    ],
)
def test_an_error_names_type_resource_field_and_reason(said, field, reason):
    fine = {"match": {"prefix": "/"}, "route": FORWARD}
    with pytest.raises(DecodeError, match=reason) as raised:
        routes(fine, said)
    assert raised.value.field == f"virtual_hosts[0].routes[1].{field}"
    assert str(raised.value).startswith("RouteConfiguration 'a:1': virtual_hosts[0].routes[1].")


def test_an_unknown_denominator_is_an_error():
    message = route("a:1", "c")
    message.virtual_hosts[0].routes[0].match.runtime_fraction.default_value.denominator = 9
    with pytest.raises(DecodeError, match="denominator: 9 is not supported"):
        parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()


def test_a_virtual_host_needs_a_domain():
    message = route("a:1", "c", domains=())
    with pytest.raises(DecodeError, match=r"virtual_hosts\[0\].domains"):
        parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()


@pytest.mark.parametrize("substitution", ["", "plain", r"\0", r"/\1/\1", r"\\2"])
def test_a_rewrite_may_name_the_groups_that_its_pattern_has(substitution):
    assert action(**rewriting("/(a|b)", substitution)).clusters[0].name == "c"


def test_the_patterns_of_one_resource_are_bounded_together():
    """Each is possible by itself; a megabyte of such would be hours of work."""
    large = [{"match": {"safe_regex": {"regex": f"(?:.{{30}}){{30}}{n}"}}, "route": FORWARD} for n in range(150)]
    assert len(routes(*large[:10])) == 10
    with pytest.raises(DecodeError, match="patterns of this resource compile to more than"):
        routes(*large)


def with_unknown_field(message):
    """As if a later Envoy had said more than our protobuf knows: field 1000, of which nobody knows the meaning."""
    message.MergeFromString(b"\xc2\x3e\x03new")


def a_message():
    message = route("a:1", "c")
    match = message.virtual_hosts[0].routes[0].match
    match.headers.add(name="x").string_match.exact = "a"
    match.headers.add(name="y").safe_regex_match.regex = "a"
    return message, match


# Cookies are such a field to the protobuf that we have.
@pytest.mark.parametrize(
    ("place", "where"),
    [
        (lambda match: match, "field 1000"),
        (lambda match: match.headers[0], "headers.field 1000"),
        (lambda match: match.headers[0].string_match, "headers.string_match.field 1000"),
        (lambda match: match.headers[1].safe_regex_match, "headers.safe_regex_match.field 1000"),
    ],
)
def test_a_route_with_a_condition_of_a_later_envoy_matches_nothing(place, where):
    message, match = a_message()
    with_unknown_field(place(match))
    table = parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()
    assert table.virtual_hosts[0].routes[0].match.never == f"match.{where}: is not known to this release"


def test_a_header_whose_only_rule_is_a_later_envoys_is_no_question_whether_it_is_there():
    message, match = a_message()
    with_unknown_field(match.headers.add(name="z"))
    table = parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()
    assert table.virtual_hosts[0].routes[0].match.never


@pytest.mark.parametrize(
    ("said", "never"),
    [
        ({"dynamic_metadata": [{}]}, "match.dynamic_metadata: is not a condition"),
        ({"filter_state": [{}]}, "match.filter_state: is not a condition"),
        ({"tls_context": {}}, "match.tls_context: is not a condition"),
        (
            {"headers": [{"name": "x", "string_match": {"custom": {}}}]},
            "match.headers[0].custom: is not a string match",
        ),
    ],
)
def test_a_condition_that_cannot_be_evaluated_costs_its_own_route_only(said, never):
    first, second = routes(
        {"match": {"prefix": "/", **said}, "route": FORWARD}, {"match": {"prefix": "/"}, "route": FORWARD}
    )
    assert first.match.never.startswith(never)
    assert (second.match.never, second.match.path.value) == ("", "/")


def test_a_path_that_cannot_be_matched_costs_its_own_route_only():
    [only] = routes({"match": {"path_match_policy": {"name": "p"}}, "route": FORWARD})
    assert only.match.never == "match.path_match_policy: is not a path match this release evaluates"


@pytest.mark.parametrize(("number", "required"), [(0, False), (1, True), (2, True), (7, True)])
def test_a_virtual_host_may_require_tls(number, required):
    message = route("a:1", "c")
    message.virtual_hosts[0].require_tls = number
    table = parse(ResourceType.ROUTE, "a:1", ResourceType.ROUTE.value, message.SerializeToString()).value()
    assert table.virtual_hosts[0].require_tls is required
