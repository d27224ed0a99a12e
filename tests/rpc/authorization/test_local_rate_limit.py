"""How many requests are let through: tokens by a clock that the test moves, descriptors, and the answer on the wire."""

from __future__ import annotations

import grpc
import pytest

from rpc.authorization.local_rate_limit.filter import compiled
from rpc.authorization.local_reply import RESOURCE_EXHAUSTED, grpc_code
from rpc.authorization.program import CannotCarryOutError, Surroundings
from rpc.authorization.request import Request
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import hello
from tests.rpc.tls.mesh import Mesh, chain, listener
from tests.xds_client.test_decode_policies import configured
from xds_client.model import (
    ConnectionManager,
    DescribedBy,
    ForwardAction,
    PathMatch,
    PathMatchKind,
    RateLimit,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
)

ALWAYS = {"default_value": {"numerator": 100}}
NEVER = {"default_value": {"numerator": 0}}


def bucket(most, per_fill=1, interval="1s"):
    return {"max_tokens": most, "tokens_per_fill": per_fill, "fill_interval": interval}


def said(most=2, **how):
    config = {"stat_prefix": "x", "token_bucket": bucket(most), "filter_enabled": ALWAYS, "filter_enforced": ALWAYS}
    return configured("local_ratelimit.v3.LocalRateLimit", **config | how)


def step(clock, most=2, around=None, **how):
    return compiled(said(most, **how), around or Surroundings("limit"), clock)


def let_in(step, *heads):
    return [step(Request(head)) is None for head in heads]


def test_tokens_are_taken_and_come_back_one_by_one(clock):
    limit = step(clock, 2, token_bucket=bucket(2, 2, "10s"))
    assert let_in(limit, *[FakeHead()] * 3) == [True, True, False]
    clock.advance(4.9)
    assert let_in(limit, FakeHead()) == [False]
    clock.advance(0.2)
    assert let_in(limit, *[FakeHead()] * 2) == [True, False]
    clock.advance(1000)
    assert let_in(limit, *[FakeHead()] * 3) == [True, True, False]


def test_a_clock_that_goes_back_gives_nothing(clock):
    limit = step(clock, 1)
    assert let_in(limit, FakeHead()) == [True]
    clock.advance(-100)
    assert let_in(limit, FakeHead()) == [False]
    clock.advance(1)
    assert let_in(limit, FakeHead()) == [True]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({}, grpc_code(429)),
        ({"status": {"code": "ServiceUnavailable"}}, grpc_code(503)),
        ({"status": {"code": "Forbidden"}}, grpc_code(403)),
        ({"status": {"code": "OK"}}, grpc_code(429)),
        ({"rate_limited_as_resource_exhausted": True}, RESOURCE_EXHAUSTED),
    ],
    ids=str,
)
def test_who_is_limited_gets_what_envoy_answers(clock, how, code):
    headers = [{"header": {"key": "X-Limited", "value": "100%%"}}]
    limit = step(clock, 1, response_headers_to_add=headers, **how)
    refusal = [limit(Request(FakeHead())) for _ in range(2)][1]
    assert (refusal.code, refusal.details) == (code, "local_rate_limited")
    assert refusal.headers == (("x-limited", "100%"),)


def test_a_limit_that_is_not_enforced_marks_requests(clock):
    mark = {"header": {"key": "x-over", "value": "1"}}
    limit = step(clock, 1, filter_enforced=NEVER, request_headers_to_add_when_not_enforced=[mark])
    heads = [FakeHead(), FakeHead()]
    assert let_in(limit, *heads) == [True, True]
    assert [head.values("x-over") for head in heads] == [[], [b"1"]]


@pytest.mark.parametrize("how", [{"filter_enabled": NEVER}, {"filter_enabled": None}, {"token_bucket": None}], ids=str)
def test_what_is_not_enabled_asks_nothing(clock, how):
    assert step(clock, **how) is None


def test_each_connection_may_have_tokens_of_its_own(clock):
    limit = step(clock, 1, local_rate_limit_per_downstream_connection=True)
    one, other = FakeHead(), FakeHead()
    other.peer = "ipv4:127.0.0.1:4321"
    assert let_in(limit, one, one, other, other) == [True, False, True, False]


def test_headers_tell_how_much_is_left(clock):
    limit = step(clock, 3, enable_x_ratelimit_headers="DRAFT_VERSION_03", token_bucket=bucket(2, 1, "10s"))
    heads = [FakeHead() for _ in range(3)]
    let_in(limit, *heads)
    told = [{name.removeprefix("x-ratelimit-"): value for _, name, value in head.answer_changes} for head in heads]
    assert [one["remaining"] for one in told] == [b"1", b"0", b"0"]
    assert [one["reset"] for one in told] == [b"0", b"10", b"10"]
    assert {one["limit"] for one in told} == {b"2"}


# ---- kinds of requests


def kind(most, *entries):
    return {"entries": [{"key": key, "value": value} for key, value in entries], "token_bucket": bucket(most)}


def user(name):
    return FakeHead(headers=[("x-user", name)])


BY_USER = {"actions": [{"request_headers": {"header_name": "X-User", "descriptor_key": "user"}}]}


def test_kinds_of_requests_have_limits_of_their_own(clock):
    limit = step(clock, 100, rate_limits=[BY_USER], descriptors=[kind(1, ("user", "eve"))])
    assert let_in(limit, user("eve"), user("eve"), user("ann"), FakeHead()) == [True, False, True, True]


def test_a_descriptor_without_a_value_counts_each_value(clock):
    how = {"rate_limits": [BY_USER], "descriptors": [kind(1, ("user", ""))], "max_dynamic_descriptors": 2}
    limit = step(clock, 100, **how)
    assert let_in(limit, *map(user, ["a", "a", "b", "b"])) == [True, False, True, False]
    assert let_in(limit, user("c"), user("a")) == [True, True]  # beyond two the oldest are forgotten


def test_the_strictest_is_asked_first_and_the_rest_keep_their_tokens(clock):
    generic = {"actions": [{"generic_key": {"descriptor_value": "all"}}]}
    strict = kind(1, ("user", "eve")) | {"token_bucket": bucket(1, 1, "100s")}
    how = {"rate_limits": [generic, BY_USER], "descriptors": [kind(2, ("generic_key", "all")), strict]}
    limit = step(clock, 100, **how)
    assert let_in(limit, *map(user, ["eve", "eve", "eve", "ann", "ann"])) == [True, False, False, True, False]


@pytest.mark.parametrize(("always", "expected"), [(True, [True, False]), (False, [True, True])])
def test_a_kind_may_be_spared_the_limit_of_all(clock, always, expected):
    how = {"rate_limits": [BY_USER], "descriptors": [kind(9, ("user", "ann"))]}
    limit = step(clock, 1, always_consume_default_token_bucket=always, **how)
    assert let_in(limit, user("ann"), user("ann")) == expected


def metadata_head():
    head = FakeHead("/s/M?q=1&q=2", headers=[("x-user", "eve"), ("x-forwarded-for", "10.0.0.9, 10.1.2.3")])
    head.dynamic_metadata["jwt"] = {"sub": "eve"}
    return head


@pytest.mark.parametrize(
    ("action", "entry"),
    [
        ({"remote_address": {}}, ("remote_address", "10.1.2.3")),
        ({"masked_remote_address": {"v4_prefix_mask_len": 16}}, ("masked_remote_address", "10.1.0.0/16")),
        ({"generic_key": {"descriptor_key": "k", "descriptor_value": "v"}}, ("k", "v")),
        ({"query_parameters": {"query_parameter_name": "q", "descriptor_key": "q"}}, ("q", "1")),
        (
            {"header_value_match": {
                "descriptor_value": "yes", "headers": [{"name": "x-user", "string_match": {"prefix": "e"}}]}},
            ("header_match", "yes"),
        ),
        (
            {"query_parameter_value_match": {
                "descriptor_value": "yes",
                "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}},
            ("query_match", "yes"),
        ),
        (
            {"metadata": {"descriptor_key": "sub", "metadata_key": {"key": "jwt", "path": [{"key": "sub"}]}}},
            ("sub", "eve"),
        ),
        (
            {"metadata": {
                "descriptor_key": "sub", "default_value": "d",
                "metadata_key": {"key": "jwt", "path": [{"key": "none"}]}}},
            ("sub", "d"),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_tells_requests_apart(clock, action, entry):
    limit = step(clock, 100, rate_limits=[{"actions": [action]}], descriptors=[kind(1, entry)])
    assert let_in(limit, metadata_head(), metadata_head()) == [True, False]


@pytest.mark.parametrize(
    "action",
    [
        {"request_headers": {"header_name": "x-none", "descriptor_key": "k"}},
        {"header_value_match": {"descriptor_value": "v", "expect_match": False, "headers": [{"name": "x-user"}]}},
        {"metadata": {"descriptor_key": "k", "metadata_key": {"key": "none", "path": [{"key": "x"}]}}},
    ],
    ids=str,
)
def test_what_has_nothing_to_say_describes_nothing(clock, action):
    generic = {"generic_key": {"descriptor_value": "v"}}
    limits, kinds = [{"actions": [generic, action]}], [kind(1, ("generic_key", "v"))]
    assert let_in(step(clock, 100, rate_limits=limits, descriptors=kinds), *[metadata_head()] * 3) == [True] * 3


@pytest.mark.parametrize(
    ("hops", "uses_own", "expected"),
    [
        (0, False, "10.1.2.3"),
        (1, False, "10.0.0.9"),
        (2, False, "127.0.0.1"),
        (0, True, "127.0.0.1"),
        (1, True, "10.1.2.3"),
    ],
)
def test_proxies_that_are_trusted_are_passed_by(clock, hops, uses_own, expected):
    around = Surroundings("limit", ConnectionManager(xff_num_trusted_hops=hops, use_remote_address=uses_own))
    kinds = [kind(1, ("remote_address", expected))]
    limit = step(clock, 100, around, rate_limits=[{"actions": [{"remote_address": {}}]}], descriptors=kinds)
    assert let_in(limit, metadata_head(), metadata_head()) == [True, False]


# ---- what routes say


def manager(path="/", host_limits=(), config=(), **forward):
    match = RouteMatch(PathMatch(PathMatchKind.PREFIX, path))
    action = RouteAction(cluster="inbound|80||", **forward)
    told = ForwardAction((WeightedCluster("inbound|80||", 1),))
    route = Route("default", match, told, forward=action, typed_per_filter_config=config)
    host = VirtualHost("in", ("*",), (route,), rate_limits=host_limits)
    return Surroundings("limit", ConnectionManager(routes=RouteConfiguration("in", (host,))))


def generic(value):
    return RateLimit(actions=(DescribedBy("generic_key", value),))


@pytest.mark.parametrize(
    ("how", "of_host", "of_route"),
    [({}, False, True), ({"vh_rate_limits": "INCLUDE"}, True, True), ({"vh_rate_limits": "IGNORE"}, False, True)],
)
def test_routes_and_hosts_describe_requests(clock, how, of_host, of_route):
    around = manager(host_limits=(generic("host"),), rate_limits=(generic("route"),))
    for value, limited in (("host", of_host), ("route", of_route)):
        limit = step(clock, 100, around, descriptors=[kind(1, ("generic_key", value))], **how)
        assert let_in(limit, FakeHead(), FakeHead()) == [True, not limited]


def test_a_route_s_own_limit_is_in_place_of_the_listener_s(clock):
    around = manager(config=(("limit", said(1)),))
    assert let_in(step(clock, 100, around), FakeHead(), FakeHead()) == [True, False]
    with pytest.raises(CannotCarryOutError):
        step(clock, 100, manager(config=(("limit", said(token_bucket=None)),)))
    with pytest.raises(CannotCarryOutError):
        step(clock, 100, manager(config=(("limit", said(1)),), path="/admin"))


@pytest.mark.parametrize(
    ("how", "invalid"),
    [
        ({"token_bucket": bucket(1, 1, "0.01s")}, True),
        ({"descriptors": [kind(1, ("a", "b"))] * 2}, True),
        ({"local_cluster_rate_limit": {}}, False),
        ({"rate_limits": [{"actions": [{"source_cluster": {}}]}]}, False),
        ({"rate_limits": [{"actions": [{"destination_cluster": {}}]}]}, False),
        ({"response_headers_to_add": [{"header": {"key": "x", "value": "%START_TIME%"}}]}, False),
    ],
    ids=str,
)
def test_what_makes_no_limit_is_told_by_name(clock, how, invalid):
    with pytest.raises(CannotCarryOutError) as caught:
        step(clock, **how)
    assert caught.value.invalid is invalid


# ---- on the wire


def limited(**how):
    config = {
        "@type": f"{V3}.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "x",
        "token_bucket": bucket(2, 1, "3600s"),
        "filter_enabled": ALWAYS,
        "filter_enforced": ALWAYS,
        **how,
    }
    return listener(chain("plaintext", http_filters=http_filters(limit=config)))


def test_callers_are_told_and_a_listener_that_comes_again_gives_no_tokens_back(our_world):
    mesh = Mesh(plaintext=True)
    shown = {"enable_x_ratelimit_headers": "DRAFT_VERSION_03"}
    client = our_world.connect(our_world.serve_in(mesh, limited(**shown)))
    assert client.call("unary", asked("Ann")).initial[:2] == [
        ("x-ratelimit-limit", "2"),
        ("x-ratelimit-remaining", "1"),
    ]
    hello(client)
    mesh.inbound.set(limited(**shown))
    answer = client.call("bidi", asked("Ann"))
    assert (answer.code, answer.details) == (grpc.StatusCode.UNAVAILABLE, "local_rate_limited")
    assert ("x-ratelimit-remaining", "0") in answer.trailing
    mesh.inbound.set(limited(token_bucket=bucket(9, 1, "3600s"), **shown))
    hello(client)
