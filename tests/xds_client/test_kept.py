"""What is only kept for whoever asks (filters, conditions on queries, metadata) takes nothing from what is needed."""

from __future__ import annotations

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2 as rds
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.unknown_fields import UnknownFieldSet

from proxyless.plain import plain
from proxyless_native import Pattern
from tests.xds_client.mesh import cluster, response, subset
from xds_client import model as m
from xds_client.decode import fields, parse
from xds_client.decode.cluster import _known_terms
from xds_client.decode.extensions import packed
from xds_client.resolve import Selection
from xds_client.resource_type import ResourceType

CLUSTER, LISTENER, ROUTE = ResourceType.CLUSTER, ResourceType.LISTENER, ResourceType.ROUTE
LARGE = r"\pL{20}"  # seven signs that compile to about a megabyte
ENOUGH = (64 << 20) // Pattern(LARGE).size + 1
V1, V2 = subset("v1"), subset("v2")


def value(kind, message):
    return parse(kind, message.name, kind.value, message.SerializeToString()).value()


def in_an_any(message):
    found = Any()
    found.Pack(message)
    return found


def nested(depth):
    """A filter's configuration that is the configuration of a filter, and so on."""
    found = Any(type_url="type.googleapis.com/x.y")
    for _ in range(depth):
        found = in_an_any(rds.FilterConfig(config=found))
    return found


def callers(count, pattern=LARGE):
    said = rbac_pb2.RBAC()
    policy = said.rules.policies["p"]
    policy.permissions.add().any = True
    for _ in range(count):
        policy.principals.add().authenticated.principal_name.safe_regex.regex = pattern
    return in_an_any(said)


def origins(count):
    said = cors_pb2.CorsPolicy()
    for _ in range(count):
        said.allow_origin_string_match.add().safe_regex.regex = LARGE
    return in_an_any(said)


def manager(*http_filters):
    said = http_connection_manager_pb2.HttpConnectionManager()
    said.route_config.name = "x"
    one = said.route_config.virtual_hosts.add(name="v", domains=["*"]).routes.add()
    one.match.prefix, one.route.cluster = "/", "inbound|80||"
    for config in (*http_filters, in_an_any(router_pb2.Router())):
        said.http_filters.add(name="f").typed_config.CopyFrom(config)
    return said


def listener(*managers):
    """A chain for each of them, and one more whose callers must have a name that a pattern tells."""
    said = listener_pb2.Listener(name="virtualInbound")
    for number, one in enumerate((*managers, manager())):
        chain = said.filter_chains.add(name=str(number))
        chain.filter_chain_match.destination_port.value = 1000 + number
        chain.filters.add(name="hcm").typed_config.Pack(one)
    tls = tls_pb2.DownstreamTlsContext()
    tls.require_client_certificate.value = True
    common = tls.common_tls_context
    common.tls_certificate_sds_secret_configs.add(name="default").sds_config.ads.SetInParent()
    trust = common.combined_validation_context
    trust.validation_context_sds_secret_config.name = "ROOTCA"
    trust.validation_context_sds_secret_config.sds_config.ads.SetInParent()
    name = trust.default_validation_context.match_typed_subject_alt_names.add(san_type="URI")
    name.matcher.safe_regex.regex = "spiffe://.*"
    chain.transport_socket.name = "tls"
    chain.transport_socket.typed_config.Pack(tls)
    return said


def table(count, say):
    said = route_pb2.RouteConfiguration(name="r")
    host = said.virtual_hosts.add(name="v", domains=["*"])
    for _ in range(count):
        one = host.routes.add()
        one.match.prefix, one.route.cluster = "/", "c"
        say(one)
    last = host.routes.add()
    last.match.safe_regex.regex, last.route.cluster = "/a.*", "c"
    return said


def by_query(one):
    one.match.query_parameters.add(name="q").string_match.safe_regex.regex = LARGE


def by_origin(one):
    one.typed_per_filter_config["envoy.filters.http.cors"].CopyFrom(origins(1))


# ---- patterns


def test_patterns_of_a_filter_cost_only_this_filter_and_never_the_names_of_callers():
    found = value(LISTENER, listener(manager(callers(ENOUGH)), manager(callers(1))))
    assert [chain.unusable for chain in found.filter_chains] == ["", "", ""]
    [spent, good] = [chain.http_filters[0].config for chain in found.filter_chains[:2]]
    assert "compile to more than" in spent.problem
    assert isinstance(good, m.HttpRbac)


def test_patterns_of_an_inbound_table_cost_only_this_table():
    many = manager()
    for _ in range(ENOUGH):
        many.route_config.virtual_hosts[0].routes.add().CopyFrom(many.route_config.virtual_hosts[0].routes[0])
        many.route_config.virtual_hosts[0].routes[0].match.safe_regex.regex = LARGE
        many.route_config.virtual_hosts[0].routes[-1].match.safe_regex.regex = LARGE
    many.route_config.virtual_hosts[0].routes.add().CopyFrom(manager().route_config.virtual_hosts[0].routes[0])
    found = value(LISTENER, listener(many))
    assert [chain.unusable for chain in found.filter_chains] == ["", ""]
    assert found.filter_chains[0].http.routes is None
    assert "compile to more than" in found.filter_chains[0].http.left_out[0]


@pytest.mark.parametrize("say", [by_query, by_origin])
def test_patterns_that_are_only_kept_take_nothing_from_the_paths_of_routes(say):
    found = value(ROUTE, table(ENOUGH, say))
    assert found.virtual_hosts[0].routes[-1].match.path == m.PathMatch(m.PathMatchKind.REGEX, "/a.*")


def test_the_patterns_that_are_kept_of_one_resource_are_bounded_together(monkeypatch):
    compiled = []
    monkeypatch.setattr(fields, "Pattern", lambda text: compiled.append(text) or Pattern(text))
    fields._check.cache_clear()
    configs = iter([callers(1, f"{LARGE}{number}") for number in range(5 * ENOUGH)])
    found = value(ROUTE, table(5 * ENOUGH, lambda one: one.typed_per_filter_config["x"].CopyFrom(next(configs))))
    routes = found.virtual_hosts[0].routes
    kept = [isinstance(config, m.HttpRbac) for one in routes[:-1] for _, config in one.typed_per_filter_config]
    assert kept == sorted(kept, reverse=True), "all up to a number"
    assert 3 * ENOUGH < sum(kept) < 4 * ENOUGH
    assert len(compiled) <= sum(kept) + 3, "the others were not even tried"


def test_what_a_cluster_says_is_the_same_whatever_other_clusters_said():
    _known_terms.cache_clear()
    spent, good = cluster("spent"), cluster("good")
    for one in (spent, good):
        one.typed_extension_protocol_options["x"].CopyFrom(callers(1))
    with fields.bounded_patterns():
        fields._budget.get().needed = fields._budget.get().kept = -1
        first = value(CLUSTER, spent)
    assert first.terms == value(CLUSTER, good).terms
    [(_, config)] = first.terms.typed_extension_protocol_options
    assert isinstance(config, m.HttpRbac)


def test_a_query_parameter_that_is_malformed_is_still_one_that_no_grpc_call_has():
    said = table(1, lambda one: one.match.query_parameters.add(name="q"))
    said.virtual_hosts[0].routes[0].match.query_parameters[0].string_match.safe_regex.regex = "("
    found = value(ROUTE, said).virtual_hosts[0].routes[0].match
    assert found.query_parameters == (m.QueryParameterMatch("q"),)
    assert "does not compile" in found.never
    assert not found.possible_for_grpc


# ---- depth


@pytest.mark.parametrize("depth", [17, 300, 1000])
def test_what_is_packed_too_deep_costs_only_itself(depth):
    deep = nested(depth)
    found = packed(deep)
    for _ in range(16):
        found = found.config
    assert found == m.Opaque("envoy.config.route.v3.FilterConfig", found.data, "nested too deep")
    inbound = value(LISTENER, listener(manager(deep)))
    assert [chain.unusable for chain in inbound.filter_chains] == ["", ""]
    said = table(1, lambda one: one.typed_per_filter_config["x"].CopyFrom(deep))
    assert len(value(ROUTE, said).virtual_hosts[0].routes) == 2
    assert isinstance(packed(nested(15)).config, type(packed(nested(1))))


def test_what_is_deep_between_one_any_and_the_next_costs_only_itself():
    """Each Any may be as deep as protobuf takes, which together is more than Python does."""
    found = Any(type_url="type.googleapis.com/x.y")
    for _ in range(15):
        said = rbac_pb2.RBAC()
        policy = said.rules.policies["p"]
        policy.principals.add().any = True
        one = policy.permissions.add()
        for _ in range(40):
            one = one.not_rule
        one.uri_template.typed_config.CopyFrom(found)
        found = in_an_any(said)
    inbound = value(LISTENER, listener(manager(found)))
    assert [chain.unusable for chain in inbound.filter_chains] == ["", ""]


def deep_cluster(name, besides):
    said = cluster(name)
    said.metadata.typed_filter_metadata["x"].CopyFrom(nested(300))
    said.metadata.typed_filter_metadata[besides].CopyFrom(Any())
    return said


def test_metadata_of_clusters_is_compared_and_not_read(wire, monkeypatch):
    news = {name: wire.observe(Selection(CLUSTER, frozenset({name}))) for name in (V1, V2)}
    wire.open()
    monkeypatch.setattr(m.DeferredMetadata, "value", property(lambda _: pytest.fail("it is read")))
    wire.receive(response(CLUSTER, *[deep_cluster(name, "a") for name in news], nonce="n1"))
    wire.receive(response(CLUSTER, deep_cluster(V1, "a"), deep_cluster(V2, "b"), nonce="n2"))
    assert [len(told) for told in news.values()] == [1, 2], "the first says the same in the second push"


def test_an_interest_that_raises_costs_only_itself(wire, monkeypatch, caplog):
    news = {name: wire.observe(Selection(CLUSTER, frozenset({name}))) for name in (V1, V2)}
    wire.open()
    resolve = wire.loop.__class__._announce.__globals__["resolve"]

    def raising(interest, *args):
        if interest.names == {V1}:
            raise RecursionError
        return resolve(interest, *args)

    monkeypatch.setattr("xds_client.loop.resolve", raising)
    wire.receive(response(CLUSTER, cluster(V1), cluster(V2), nonce="n1"))
    assert [len(told) for told in news.values()] == [0, 1]
    assert "cannot be resolved" in caplog.text
    monkeypatch.setattr("xds_client.loop.resolve", resolve)
    wire.receive(response(CLUSTER, cluster("other"), nonce="n2"))
    assert [len(told) for told in news.values()] == [1, 1], "it is tried again"


# ---- what a later Envoy says

FIELD_103 = b"\xba\x06\x05admin"


def policies():
    said = rbac_pb2.RBAC()
    said.rules.policies["p"].permissions.add().any = True
    said.rules.policies["p"].principals.add().any = True
    return said, said.rules.policies["p"]


def shadow_policies():
    said, _ = policies()
    said.shadow_rules.CopyFrom(said.rules)
    return said, said.shadow_rules.policies["p"].principals[0]


def providers():
    said = jwt_pb2.JwtAuthentication()
    said.providers["p"].issuer = "i"
    return said, said.providers["p"]


def requirements():
    said = jwt_pb2.JwtAuthentication()
    said.requirement_map["p"].provider_name = "p"
    return said, said.requirement_map["p"]


def of_state():
    said = jwt_pb2.JwtAuthentication()
    said.filter_state_rules.requires["p"].provider_name = "p"
    return said, said.filter_state_rules.requires["p"]


@pytest.mark.parametrize("maps", [policies, shadow_policies, providers, requirements, of_state])
def test_more_than_is_known_in_a_map_is_refused_too(maps):
    said, inside = maps()
    assert not isinstance(packed(in_an_any(said)), m.Opaque)
    inside.MergeFromString(FIELD_103)
    assert len(UnknownFieldSet(inside)) == 1
    assert "['p']" in packed(in_an_any(said)).problem


# ---- filters that come later


def test_what_a_listener_says_of_a_filter_that_comes_later_is_kept():
    said = manager()
    later = said.http_filters.add(name="later", disabled=True, is_optional=True).config_discovery
    later.type_urls.append("type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC")
    later.default_config.CopyFrom(callers(1))
    later.config_source.ads.SetInParent()
    elsewhere = said.http_filters.add(name="elsewhere", disabled=True, is_optional=True).config_discovery
    elsewhere.config_source.path_config_source.path = "/a"
    found = value(LISTENER, listener(said)).filter_chains[0].http_filters
    assert [(one.name, one.disabled, one.is_optional) for one in found] == [
        ("f", False, False),
        ("later", True, True),
        ("elsewhere", True, True),
    ]
    assert found[1].discovered
    assert found[1].default_config == packed(callers(1))
    assert found[0].default_config is None


# ---- what nobody asks for


def test_what_a_listener_keeps_is_read_when_somebody_asks_for_it(monkeypatch):
    said = listener(manager(callers(1)))
    with monkeypatch.context() as patched:
        patched.setattr(m.Deferred, "value", property(lambda _: pytest.fail("it is read")))
        one, other = value(LISTENER, said), value(LISTENER, said)
        assert one == other
        assert hash(one) == hash(other)
        assert repr(one) == repr(other)
    chain = one.filter_chains[0]
    assert isinstance(chain.http_filters[0].config, m.HttpRbac)
    assert chain.http.routes.name == "x"
    assert chain.http is chain.http
    assert plain(chain)["http"]["routes"]["name"] == "x"
    assert plain(chain)["http_filters"][0]["config"]["rules"]["action"] == "ALLOW"
    assert value(LISTENER, listener(manager(callers(2)))) != one


def test_filters_in_filters_that_are_read_later_are_as_deep_as_they_stand():
    found = Any(type_url="type.googleapis.com/x.y")
    for _ in range(40):
        said = http_protocol_options_pb2.HttpProtocolOptions()
        said.http_filters.add(name="f").typed_config.CopyFrom(found)
        found = in_an_any(said)
    read, depth = packed(found), 1
    while not isinstance(read, m.Opaque):
        read, depth = read.http_filters[0].config, depth + 1
    assert (read.problem, depth) == ("nested too deep", 17)


def test_more_headers_than_envoy_takes_are_left_out_and_named():
    said = table(0, None)
    for _ in range(1000):
        said.request_headers_to_add.add()
        said.virtual_hosts[0].response_headers_to_add.add()
    found = value(ROUTE, said)
    assert len(found.terms.headers.request_add) == len(found.virtual_hosts[0].headers.response_add) == 1000
    said.request_headers_to_add.add()
    said.virtual_hosts[0].response_headers_to_add.add()
    found = value(ROUTE, said)
    assert found.terms.headers == found.virtual_hosts[0].headers == m.HeaderOperations()
    assert found.terms.left_out == ("request_headers_to_add: has more than 1000 entries",)
    assert found.virtual_hosts[0].left_out == ("response_headers_to_add: has more than 1000 entries",)


def test_lists_that_are_only_kept_have_an_end():
    def split(one):
        one.route.weighted_clusters.clusters.add(name="c").weight.value = 1
        for _ in range(10_000):
            one.route.weighted_clusters.clusters.add(name="c")

    found = value(ROUTE, table(1, split)).virtual_hosts[0].routes[0]
    assert len(found.action.clusters) == 10_001
    assert found.forward is None
    assert found.unread == ("route.weighted_clusters.clusters: has more than 10000 entries",)
