"""When a service is asked, and what it is told, without any connection."""

from __future__ import annotations

import dataclasses
import hashlib
from types import SimpleNamespace

import grpc
import pytest

from rpc.authorization import clusters
from rpc.authorization.ext_authz.attributes import Attributes
from rpc.authorization.ext_authz.filter import METADATA, compiled
from rpc.authorization.local_reply import grpc_code, local_reply
from rpc.authorization.program import CannotCarryOutError, Surroundings, compile_filters
from rpc.authorization.request import Request
from tests.rpc.authorization.authorizers import allow
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.authorization.heads import FakeHead
from tests.xds_client.test_decode_policies import configured
from xds_client.model import (
    CheckSettings,
    ConnectionManager,
    ExtAuthzPerRoute,
    FilterOverride,
    ForwardAction,
    PathMatch,
    PathMatchKind,
    Route,
    RouteConfiguration,
    RouteMatch,
    Target,
    VirtualHost,
    WeightedCluster,
)

SERVICE = {"envoy_grpc": {"cluster_name": "authorizer"}}
SHADOW = {
    "filter": "envoy.filters.http.rbac",
    "path": [{"key": "istio_ext_authz_shadow_effective_policy_id"}],
    "value": {"string_match": {"prefix": "istio-ext-authz"}},
}


class Answering:
    """A channel whose calls are over at once, with this answer."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def unary_unary(self, *_, **__):
        return self

    def future(self, check, **_):
        self.asked.append(check)
        return self

    def add_done_callback(self, callback):
        callback(self)

    def code(self):
        return grpc.StatusCode.OK

    def result(self):
        return self.answer

    def cancel(self):
        """Too late."""


@pytest.fixture
def channel(monkeypatch):
    made = Answering(allow())
    monkeypatch.setattr(clusters, "_openers", [lambda *_: made])
    return made


def step(around=None, **how):
    said = configured("ext_authz.v3.ExtAuthz", **{"grpc_service": SERVICE, **how})
    return compiled(said, around or Surroundings("authz"))


def decided(step, head):
    decision = step(Request(head))
    return decision if decision is None or not hasattr(decision, "result") else decision.result(0)


def test_istiods_pair_asks_only_about_requests_that_the_shadow_rules_found(channel):
    asks = step(filter_enabled_metadata=SHADOW)
    found = FakeHead()
    found.dynamic_metadata["envoy.filters.http.rbac"] = {
        "istio_ext_authz_shadow_effective_policy_id": "istio-ext-authz-ns[demo]-policy[p]-rule[0]"
    }
    other = FakeHead()
    other.dynamic_metadata["envoy.filters.http.rbac"] = {"istio_ext_authz_shadow_effective_policy_id": "else"}
    for head in (FakeHead(), other, found):
        assert decided(asks, head) is None
    assert len(channel.asked) == 1


@pytest.mark.parametrize(("share", "asked"), [(0, 0), (100, 1)])
def test_a_filter_may_be_for_a_share_of_the_requests(channel, share, asked):
    assert decided(step(filter_enabled={"default_value": {"numerator": share}}), FakeHead()) is None
    assert len(channel.asked) == asked


def test_who_is_not_asked_about_may_be_denied(channel):
    denies = step(filter_enabled={"default_value": {}}, deny_at_disable={"default_value": True, "runtime_key": "k"})
    assert decided(denies, FakeHead()).code == grpc_code(403)
    assert channel.asked == []


def test_what_it_found_out_is_for_later_filters(channel):
    channel.answer.dynamic_metadata["who"] = "ann"
    head = FakeHead()
    decided(step(), head)
    assert head.dynamic_metadata[METADATA]["who"] == "ann"
    assert head.dynamic_metadata[METADATA]["ext_authz_duration"] >= 0
    head = FakeHead()
    decided(step(enable_dynamic_metadata_ingestion=False), head)
    assert head.dynamic_metadata == {}


def test_what_earlier_filters_found_out_it_is_told(channel):
    head = FakeHead()
    head.dynamic_metadata |= {"jwt": {"sub": "ann", "groups": ["a", 1.0]}, "else": {"x": 1.0}}
    decided(step(metadata_context_namespaces=["jwt", "none"]), head)
    told = channel.asked[0].attributes.metadata_context.filter_metadata
    assert list(told) == ["jwt"]
    assert told["jwt"]["groups"][1] == 1.0


def test_a_service_that_says_what_is_no_header_lets_nobody_in_where_that_is_looked_at(channel):
    channel.answer = allow(headers=[{"header": {"key": "bad name", "value": "1"}}])
    assert decided(step(), FakeHead()) is None
    assert decided(step(validate_mutations=True), FakeHead()).code == grpc_code(500)


def test_parameters_of_the_query_may_change(channel):
    channel.answer = allow(query_parameters_to_set=[{"key": "a", "value": "2"}], query_parameters_to_remove=["b"])
    head = FakeHead("/s/M?a=1&b=1&c=")
    decided(step(), head)
    assert head.path == "/s/M?a=2&c="


@pytest.mark.parametrize(
    "how",
    [
        {"grpc_service": {"google_grpc": {"target_uri": "x", "stat_prefix": "x"}}},
        {"with_request_body": {"max_request_bytes": 1}},
        {"decoder_header_mutation_rules": {}},
        {"bootstrap_metadata_labels_key": "k"},
        {"route_metadata_context_namespaces": ["a"]},
        {"grpc_service": SERVICE | {"retry_policy": {}}},
        {"grpc_service": SERVICE | {"initial_metadata": [{"key": "x", "value": "%START_TIME%"}]}},
    ],
    ids=str,
)
def test_what_nobody_carries_out_is_told_by_name(channel, how):
    with pytest.raises(CannotCarryOutError):
        step(**how)


# ---- what routes say of it


def manager(config, path="/", **more):
    match = RouteMatch(PathMatch(PathMatchKind.PREFIX, path))
    action = ForwardAction((WeightedCluster("inbound|80||", 1),))
    route = Route("default", match, action, typed_per_filter_config=(("authz", config),))
    return ConnectionManager(routes=RouteConfiguration("in", (VirtualHost("in", ("*",), (route,), **more),)))


def test_a_route_may_add_to_what_it_is_told(channel):
    host = ExtAuthzPerRoute(check_settings=CheckSettings((("a", "host"), ("b", "host"))))
    route = ExtAuthzPerRoute(check_settings=CheckSettings((("a", "route"),)))
    around = Surroundings("authz", manager(route, typed_per_filter_config=(("authz", host), ("else", object()))))
    decided(step(around), FakeHead())
    assert dict(channel.asked[0].attributes.context_extensions) == {"a": "route", "b": "host"}


@pytest.mark.parametrize("said", [ExtAuthzPerRoute(disabled=True), FilterOverride(disabled=True)])
def test_a_route_may_switch_it_off(channel, said):
    assert step(Surroundings("authz", manager(said))) is None


def test_routes_that_are_told_apart_close_the_chain(channel):
    with pytest.raises(CannotCarryOutError, match="some of its routes"):
        step(Surroundings("authz", manager(ExtAuthzPerRoute(disabled=True), path="/admin")))


def test_a_filter_that_only_routes_switch_on_closes_the_chain(channel):
    """Envoy would ask it there; to pass it over would let everybody in."""
    config = {"@type": f"{V3}.ext_authz.v3.ExtAuthz", "grpc_service": SERVICE}
    (found,) = http_filters(authz=config)
    disabled = dataclasses.replace(found, disabled=True)
    with pytest.raises(CannotCarryOutError):
        compile_filters([disabled], manager(FilterOverride(config=ExtAuthzPerRoute())))
    compile_filters([disabled], manager(FilterOverride(disabled=True)))
    assert compile_filters([disabled], None) is None


# ---- who calls


@pytest.mark.parametrize(
    ("how", "tls", "expected"),
    [
        ("SANITIZE", True, ""),
        ("SANITIZE_SET", True, "{own}"),
        ("SANITIZE_SET", False, ""),
        ("FORWARD_ONLY", True, "URI=theirs"),
        ("FORWARD_ONLY", False, ""),
        ("APPEND_FORWARD", True, "URI=theirs,{own}"),
        ("APPEND_FORWARD", False, ""),
        ("ALWAYS_FORWARD_ONLY", False, "URI=theirs"),
    ],
)
def test_certificates_that_are_forwarded_are_vouched_for(how, tls, expected):
    head = FakeHead(headers=[("x-forwarded-client-cert", "URI=theirs")])
    shown = SimpleNamespace(certificates=[b"leaf"], identity="spiffe://td/ns/a/sa/b")
    head.tls_info = lambda: shown if tls else None
    identity = SimpleNamespace(current=SimpleNamespace(spiffe_id="spiffe://td/ns/c/sa/d"))
    around = Surroundings(
        "authz", ConnectionManager(forward_client_cert_details=how), SimpleNamespace(identity=identity)
    )
    check = Attributes(configured("ext_authz.v3.ExtAuthz", grpc_service=SERVICE), around, {}).of(Request(head))
    told = check.attributes.request.http.headers.get("x-forwarded-client-cert", "")
    digest = hashlib.sha256(b"leaf").hexdigest()
    assert told == expected.format(own=f"By=spiffe://td/ns/c/sa/d;Hash={digest};URI=spiffe://td/ns/a/sa/b")
    if tls:
        assert check.attributes.source.principal == "spiffe://td/ns/a/sa/b"


class Written(dict):
    """A question's headers, and how much was written to make them."""

    length = 0

    def __setitem__(self, name, value):
        self.length += len(value)
        super().__setitem__(name, value)


def test_a_header_in_very_many_fields_is_joined_once():
    fields = [("x", f"{number}") for number in range(1000)]
    attributes = Attributes(configured("ext_authz.v3.ExtAuthz", grpc_service=SERVICE), Surroundings("authz"), {})
    http = SimpleNamespace(headers=Written())
    attributes._set_headers(http, Request(FakeHead(headers=fields)), own="")
    assert http.headers["x"] == ",".join(value for _, value in fields)
    assert http.headers.length == sum(map(len, http.headers.values()))


@pytest.mark.parametrize(
    ("said", "code", "details"),
    [
        ((("grpc-status", "5"), ("grpc-message", "none"), ("x", "1")), 5, "none"),
        ((("grpc-status", "99"),), 7, ""),
        ((("grpc-status", "-1"),), 7, ""),
    ],
)
def test_a_header_may_say_grpc_s_status_itself(said, code, details):
    refusal = local_reply(403, why="x", headers=said)
    assert (refusal.code, refusal.details) == (code, details)
    assert all(name == "x" for name, _ in refusal.headers)


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("outbound|9000|v1|authorizer.demo.svc.cluster.local", "authorizer.demo.svc.cluster.local", 9000),
        ("authorizer", "authorizer", 0),
        ("outbound|x||y", "outbound|x||y", 0),
    ],
)
def test_every_name_of_a_cluster_is_a_target(name, host, port):
    target = Target.of_cluster(name)
    assert (target.host, target.port, target.cluster, str(target)) == (host, port, name, name)
