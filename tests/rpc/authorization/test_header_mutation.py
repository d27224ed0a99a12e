"""Headers of requests and answers that a chain's filters and its routes change."""

from __future__ import annotations

import logging

import pytest

from rpc.authorization import header_mutation, route_headers
from rpc.authorization.program import CannotCarryOutError, Surroundings, compile_filters
from rpc.authorization.request import Request
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.script import READ, greet
from tests.rpc.script import request as asked
from tests.rpc.tls.mesh import Mesh, chain, listener
from tests.xds_client.test_decode_policies import configured
from xds_client.model import (
    ConnectionManager,
    ForwardAction,
    HeaderOperations,
    HeaderToAdd,
    HeaderValue,
    PathMatch,
    PathMatchKind,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    RouteTableTerms,
    VirtualHost,
    WeightedCluster,
)

SET = "OVERWRITE_IF_EXISTS_OR_ADD"


def append(key, value, action="APPEND_IF_EXISTS_OR_ADD", **how):
    return {"append": {"header": {"key": key, "value": value}, "append_action": action, **how}}


def said(*request, **how):
    return configured("header_mutation.v3.HeaderMutation", mutations={"request_mutations": request, **how})


def changed(step, *headers):
    head = FakeHead(headers=headers)
    assert step is None or step(Request(head)) is None
    return [(name, value.decode()) for name, value in head.headers if not name.startswith(":")], head.answer_changes


@pytest.mark.parametrize(
    ("mutation", "there", "absent"),
    [
        (append("X-A", "2"), ["1", "2"], ["2"]),
        (append("x-a", "2", "ADD_IF_ABSENT"), ["1"], ["2"]),
        (append("x-a", "2", SET), ["2"], ["2"]),
        (append("x-a", "2", "OVERWRITE_IF_EXISTS"), ["2"], []),
        (append("x-a", ""), ["1"], []),
        (append("x-a", "", SET, keep_empty_value=True), [""], [""]),
        (append("x-a", "100%%", SET), ["100%"], ["100%"]),
        ({"remove": "X-A"}, [], []),
        ({"remove_on_match": {"key_matcher": {"prefix": "x-"}}}, [], []),
    ],
    ids=str,
)
def test_each_action_does_what_envoy_does(mutation, there, absent):
    step = header_mutation.compiled(said(mutation), Surroundings("mutate"))
    assert changed(step, ("x-a", "1"))[0] == [("x-a", value) for value in there]
    assert changed(step)[0] == [("x-a", value) for value in absent]


@pytest.mark.parametrize(
    "how",
    [
        {"query_parameter_mutations": [{"remove": "x"}]},
        {"response_trailers_mutations": [{"remove": "x"}]},
        {"request_trailers_mutations": [{"remove": "x"}]},
        {"response_mutations": [{"remove_on_match": {"key_matcher": {"exact": "x"}}}]},
        {"request_mutations": [append("x", "%REQ(y)%")]},
    ],
    ids=str,
)
def test_what_nobody_carries_out_is_told_by_name(how):
    with pytest.raises(CannotCarryOutError):
        header_mutation.compiled(configured("header_mutation.v3.HeaderMutation", mutations=how), Surroundings("mutate"))


def manager(config=(), route=(), host=(), table=(), path="/", wins=False, **action):
    match = RouteMatch(PathMatch(PathMatchKind.PREFIX, path))
    told = ForwardAction((WeightedCluster("inbound|80||", 1),))
    levels = [HeaderOperations(**dict(level)) for level in (route, host, table)]
    one = Route("r", match, told, forward=RouteAction(cluster="inbound|80||", **action), headers=levels[0],
                typed_per_filter_config=config)  # fmt: skip
    hosts = (VirtualHost("h", ("*",), (one,), headers=levels[1]),)
    terms = RouteTableTerms(headers=levels[2], most_specific_header_mutations_wins=wins)
    return ConnectionManager(routes=RouteConfiguration("in", hosts, terms=terms))


def test_routes_change_headers_behind_the_listener():
    around = Surroundings("mutate", manager(config=(("mutate", said(append("x-a", "route", SET))),)))
    step = header_mutation.compiled(said(append("x-a", "listener", SET), append("x-b", "listener", SET)), around)
    assert changed(step)[0] == [("x-b", "listener"), ("x-a", "route")]


def to_set(name, value):
    return HeaderToAdd(HeaderValue(name, value), SET)


@pytest.mark.parametrize(("wins", "last"), [(False, "table"), (True, "route")])
def test_the_inbound_route_s_own_headers_are_set_and_removed(wins, last):
    levels = {level: {"request_add": (to_set("x-a", level),)}.items() for level in ("route", "host", "table")}
    levels["host"] = {
        "request_add": (to_set("x-a", "host"),),
        "request_remove": ("x-gone",),
        "response_add": (to_set("x-answer", "1"),),
        "response_remove": ("x-secret",),
    }.items()
    step = route_headers.compiled(manager(wins=wins, **levels))
    headers, answer = changed(step, ("x-gone", "1"), ("x-a", "client"))
    assert headers == [("x-a", last)]
    assert answer == [("REMOVE", "x-secret", b""), (SET, "x-answer", b"1")]


def test_routes_that_are_told_apart_and_change_headers_close_the_chain():
    with pytest.raises(CannotCarryOutError, match="change headers"):
        compile_filters((), manager(path="/x", route={"request_remove": ("x",)}.items()))
    compile_filters((), manager(path="/x"))
    compile_filters((), manager(timeout=0.0))


def test_time_outs_of_inbound_routes_are_told_of(caplog):
    with caplog.at_level(logging.WARNING, "proxyless"):
        compile_filters((), manager(timeout=3.0, max_grpc_timeout=1.0))
    assert "inbound routes 'in' say max_grpc_timeout, timeout: not kept here" in caplog.text


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_handlers_and_callers_see_what_was_changed(our_world, kind):
    seen = []

    def script():
        request = yield READ
        yield lambda context: seen.append(dict(context.invocation_metadata()))
        yield greet(request)

    config = {
        "@type": f"{V3}.header_mutation.v3.HeaderMutation",
        "mutations": {
            "request_mutations": [append("x-a", "1", SET), {"remove": "x-b"}],
            "response_mutations": [append("x-answer", "1"), append("content-type", "text/html", SET)],
        },
    }
    held = listener(chain("plaintext", http_filters=http_filters(mutate=config)))
    client = our_world.connect(our_world.serve_in(Mesh(plaintext=True), held, script))
    answer = client.call(kind, asked("Ann"), metadata=[("x-a", "0"), ("x-b", "0")])
    assert answer.messages == ["Hello, Ann!"]
    assert answer.initial == [("x-answer", "1")]
    assert seen[0]["x-a"] == "1"
    assert "x-b" not in seen[0]
