"""Listeners: every match field, what an inspector does not look at, and what is closed because it is not understood."""

from __future__ import annotations

import ipaddress

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt_authn_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.listener.http_inspector.v3 import http_inspector_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from google.protobuf import any_pb2, json_format
from hypothesis import given
from hypothesis import strategies as st

from tests.xds_client.mesh import cluster
from tests.xds_client.test_captures import bare
from tests.xds_client.test_decode_route import with_unknown_field
from tests.xds_client.test_decode_tls import PACKED, agent, validating
from xds_client import model as m
from xds_client.decode import parse
from xds_client.decode.filters import type_of
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType

REGISTERED = (jwt_authn_pb2, rbac_pb2, router_pb2, http_inspector_pb2, tls_inspector_pb2)  # so that JSON may name them
FILTERS = "type.googleapis.com/envoy.extensions.filters."
NETWORK = FILTERS + "network."
V3 = "envoy.extensions.filters"
ROUTE = {"match": {"prefix": "/"}, "route": {"cluster": "inbound|1||"}}
HTTP = {
    "name": "http",
    "typed_config": {
        "@type": NETWORK + "http_connection_manager.v3.HttpConnectionManager",
        "http_filters": [
            {"name": "istio.stats", "typed_config": {"@type": FILTERS + "http.jwt_authn.v3.JwtAuthentication"}},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": FILTERS + "http.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [ROUTE]}]},
    },
}
TCP = {"name": "tcp", "typed_config": {"@type": NETWORK + "tcp_proxy.v3.TcpProxy", "cluster": "inbound|1||"}}


def decoded(**said):
    message = json_format.ParseDict({"name": "l", **said}, listener_pb2.Listener())
    return parse(ResourceType.LISTENER, "l", ResourceType.LISTENER.value, message.SerializeToString()).value()


def a_chain(**said):
    return decoded(filter_chains=[{"name": "c", "filters": [HTTP], **said}]).filter_chains[0]


def a_match(**said):
    return a_chain(filter_chain_match=said).match


def with_tls(common=None, **context):
    common = {"tls_certificate_sds_secret_configs": [agent("default")], **(common or {})}
    packed = {"@type": PACKED + "DownstreamTlsContext", "common_tls_context": common, **context}
    return a_chain(transport_socket={"name": "tls", "typed_config": packed})


def test_every_field_of_a_match():
    def ranges(*said):
        return [{"address_prefix": address, "prefix_len": length} for address, length in said]

    assert a_match(
        destination_port=8080,
        prefix_ranges=ranges(("10.1.2.3", 8), ("fd00::1", 64)),
        server_names=["A.example.org", "*.example.org"],
        transport_protocol="tls",
        application_protocols=["istio", "h2"],
        direct_source_prefix_ranges=ranges(("10.0.0.0", 8)),
        source_type="SAME_IP_OR_LOOPBACK",
        source_prefix_ranges=ranges(("11.0.0.0", 8)),
        source_ports=[1, 65535],
    ) == m.FilterChainMatch(
        destination_port=8080,
        prefix_ranges=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/64")),
        server_names=("a.example.org", "*.example.org"),
        transport_protocol="tls",
        application_protocols=("istio", "h2"),
        direct_source_prefix_ranges=(ipaddress.ip_network("10.0.0.0/8"),),
        source_type=m.SourceType.SAME_IP_OR_LOOPBACK,
        source_prefix_ranges=(ipaddress.ip_network("11.0.0.0/8"),),
        source_ports=(1, 65535),
    )
    assert a_match() == m.FilterChainMatch()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"destination_port": 0}, r"filter_chain_match.destination_port: 0 is not a port"),
        ({"destination_port": 70000}, "70000 is not a port"),
        ({"source_ports": [70000]}, "source_ports: 70000 is not a port"),
        ({"prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 33}]}, r"prefix_ranges\[0\].address_prefix"),
        ({"source_prefix_ranges": [{"address_prefix": "host"}]}, "'host/0' is not a range"),
        ({"server_names": ["ok", "a*.org"]}, r"server_names\[1\]: 'a\*.org': partial wildcards"),
        ({"server_names": ["*"]}, "partial wildcards"),
        ({"address_suffix": "10.0.0.1"}, "address_suffix"),
    ],
)
def test_what_envoy_refuses_in_a_match_is_refused(said, reason):
    with pytest.raises(DecodeError, match=reason) as raised:
        a_match(**said)
    assert raised.value.field.startswith("filter_chains[0].filter_chain_match.")


def test_overlapping_chains_are_refused():
    matches = [
        {"application_protocols": ["a", "b"]},
        {"application_protocols": ["c"]},
        {"application_protocols": ["b"]},
    ]
    chains = [{"name": str(i), "filters": [HTTP], "filter_chain_match": said} for i, said in enumerate(matches)]
    assert len(decoded(filter_chains=chains[:2]).filter_chains) == 2
    with pytest.raises(DecodeError, match=r"filter_chains\[2\].filter_chain_match: overlaps with that of chain '0'"):
        decoded(filter_chains=chains)


def test_kinds_and_types_of_filters():
    chain = a_chain(filters=[{"name": "istio.metadata_exchange"}, HTTP])
    assert chain.kind is m.ChainKind.HTTP
    manager = f"{V3}.network.http_connection_manager.v3.HttpConnectionManager"
    assert chain.network_filters == (m.Filter("istio.metadata_exchange"), m.Filter("http", manager))
    assert bare(chain.http_filters) == (
        m.Filter("istio.stats", f"{V3}.http.jwt_authn.v3.JwtAuthentication"),
        m.Filter("envoy.filters.http.router", f"{V3}.http.router.v3.Router"),
    )
    assert a_chain(filters=[TCP]).kind is m.ChainKind.TCP
    other = a_chain(filters=[{"name": "redis"}])
    assert (other.kind, other.unusable) == (m.ChainKind.OTHER, "")
    assert a_chain(filters=[]).unusable == "filters: there are none"


def an_http_filter(**config):
    manager = {"@type": HTTP["typed_config"]["@type"], "http_filters": [{"name": "f", **config}]}
    return bare(a_chain(filters=[{"name": "http", "typed_config": manager}]).http_filters)


@pytest.mark.parametrize("struct", ["udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct"])
def test_a_struct_is_what_it_says_it_stands_for(struct):
    def of(type_url):
        config = {"@type": f"type.googleapis.com/{struct}", "type_url": type_url, "value": {"a": {"b": 1}}}
        return an_http_filter(typed_config=config)

    assert of("type.googleapis.com/stats.PluginConfig") == (m.Filter("f", "stats.PluginConfig"),)
    assert of(f"type.googleapis.com/{struct}") == (m.Filter("f", struct),), "no more than one is opened"
    router = f"{V3}.http.router.v3.Router"
    assert of(f"type.googleapis.com/{router}") == (
        m.Filter("f", unknown=f"{router} as a struct, into which nobody looks"),
    )


def test_a_struct_that_is_none_is_known_as_a_struct():
    packed = any_pb2.Any(type_url="type.googleapis.com/xds.type.v3.TypedStruct", value=b"\xff")
    assert type_of(packed) == "xds.type.v3.TypedStruct"


def test_a_filter_by_ecds_says_what_it_may_be_and_not_what_it_is():
    def of(**source):
        return an_http_filter(config_discovery={"type_urls": [FILTERS + "http.wasm.v3.Wasm"], **source})

    assert of(config_source={"ads": {}}) == (
        m.Filter("f", "", True, (f"{V3}.http.wasm.v3.Wasm",), "its configuration has not come yet"),
    )
    [elsewhere] = of(config_source={"path": "/etc/filter"})
    assert (elsewhere.type, elsewhere.unknown) == ("", "its configuration does not come by ADS")


def test_what_a_router_has_behind_it_is_seen_too():
    def router(*filters):
        return {"@type": FILTERS + "http.router.v3.Router", "upstream_http_filters": list(filters)}

    rbac = {"name": "codec", "typed_config": {"@type": FILTERS + "http.rbac.v3.RBAC"}}
    _, inner, nested = an_http_filter(typed_config=router(rbac, {"name": "again", "typed_config": router(rbac)}))
    assert inner == m.Filter("codec", f"{V3}.http.rbac.v3.RBAC")
    assert (nested.type, nested.unknown) == ("", "a router in a router")


def ending_in(**said):
    """A chain that ends in an HttpConnectionManager which says this, too."""
    chain = a_chain(filters=[{"name": "http", "typed_config": {**HTTP["typed_config"], **said}}])
    assert chain.kind is m.ChainKind.HTTP
    return chain


def with_hosts(*hosts, **said):
    hosts = [{"name": "v", "domains": ["*"], "routes": [ROUTE], **host} for host in hosts]
    return ending_in(route_config={"virtual_hosts": hosts, **said}).unusable


def with_route(**said):
    return with_hosts({"routes": [{"match": ROUTE["match"], **said}, ROUTE]})


def split(*names):
    return {"weighted_clusters": {"clusters": [{"name": name, "weight": 1} for name in names]}}


def test_a_chain_whose_every_route_leads_to_a_port_of_ours_is_open():
    assert with_hosts({}, {"domains": ["a.example.org"]}) == ""
    assert with_route(route={"cluster": "InboundPassthroughCluster"}) == ""
    assert with_route(route=split("inbound|1||", "inbound|2||")) == ""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"direct_response": {"status": 403}}, "direct_response: is not carried out"),
        ({"redirect": {"https_redirect": True}}, "redirect: is not carried out"),
        ({"non_forwarding_action": {}}, "non_forwarding_action: is not carried out"),
        ({}, "action: is not carried out"),
        ({"route": {"cluster": "BlackHoleCluster"}}, "route.cluster: BlackHoleCluster drops every connection"),
        ({"route": {"cluster": "outbound|1||a"}}, "route.cluster: 'outbound|1||a' is not a port of this workload"),
        ({"route": {"cluster_header": "x"}}, "route.cluster_header: does not say which port is meant"),
        ({"route": split("inbound|1||", "BlackHoleCluster")}, "route.weighted_clusters.clusters[1].name: BlackHole"),
        ({"route": {"weighted_clusters": {}}}, "route.weighted_clusters: does not say"),
    ],
)
def test_an_inbound_route_that_denies_closes_its_chain(said, reason):
    where = "filters[0].typed_config.route_config.virtual_hosts[0].routes[0]."
    assert with_route(**said).startswith(where + reason)


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        ([], "virtual_hosts: none is for every name"),
        ([{"domains": ["a.example.org"]}], "virtual_hosts: none is for every name"),
        ([{}, {"require_tls": "ALL"}], "virtual_hosts[1].require_tls: is not carried out"),
        ([{"routes": []}], "virtual_hosts[0].routes: the last is not for every call"),
        ([{"routes": [{**ROUTE, "match": {"prefix": "/a"}}]}], "virtual_hosts[0].routes: the last is not for every"),
        (
            [{"routes": [{**ROUTE, "match": {"prefix": "/", "headers": [{"name": "x", "present_match": True}]}}]}],
            "virtual_hosts[0].routes: the last is not for every call",
        ),
        ([{"routes": [], "matcher": {}}], "virtual_hosts[0].matcher: generic matching trees are not supported"),
    ],
)
def test_virtual_hosts_that_turn_some_calls_away_close_their_chain(hosts, reason):
    assert with_hosts(*hosts).startswith(f"filters[0].typed_config.route_config.{reason}")


def test_routes_from_elsewhere_or_none_and_no_router_close_their_chain():
    ads = {"ads": {}}
    place = "filters[0].typed_config."
    rds = {"name": "http", "typed_config": {**HTTP["typed_config"], "rds": {"config_source": ads}}}
    del rds["typed_config"]["route_config"]
    assert a_chain(filters=[rds]).unusable == f"{place}rds: inbound routes of their own are not asked"
    rds["typed_config"]["scoped_routes"] = {"name": "s"}
    del rds["typed_config"]["rds"]
    assert a_chain(filters=[rds]).unusable.startswith(f"{place}scoped_routes: ")
    del rds["typed_config"]["scoped_routes"]
    assert a_chain(filters=[rds]).unusable == f"{place}route_config: is missing, so no call comes through"
    assert with_hosts({}, vhds={"config_source": ads}).startswith(f"{place}route_config.vhds: ")
    for filters in ([], HTTP["typed_config"]["http_filters"][:1]):
        found = ending_in(http_filters=filters)
        assert found.unusable == f"{place}http_filters: none of them is a router, so no call comes through"


def test_the_filters_of_an_upgrade_are_seen_too():
    rbac = {"name": "cors", "typed_config": {"@type": FILTERS + "http.rbac.v3.RBAC"}}
    found = ending_in(upgrade_configs=[{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT", "filters": [rbac]}])
    assert bare(found.http_filters)[-1] == m.Filter("cors", f"{V3}.http.rbac.v3.RBAC")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "cluster: does not say which port is meant"),
        ({"cluster": "outbound|1||a"}, "cluster: 'outbound|1||a' is not a port of this workload"),
        (split("inbound|1||", "BlackHoleCluster"), "weighted_clusters.clusters[1].name: BlackHoleCluster drops every"),
    ],
)
def test_bytes_that_are_not_passed_on_to_a_port_close_their_chain(said, reason):
    proxy = {"@type": TCP["typed_config"]["@type"], **said}
    found = a_chain(filters=[{"name": "tcp", "typed_config": proxy}])
    assert found.kind is m.ChainKind.TCP
    assert found.unusable.startswith(f"filters[0].typed_config.{reason}")
    assert a_chain(filters=[TCP]).unusable == ""


def test_a_listener_and_its_default_chain():
    listener = decoded(
        address={"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
        default_filter_chain={"name": "rest", "filters": [TCP]},
        listener_filters=[
            {"name": "proxy", "typed_config": {"@type": FILTERS + "listener.tls_inspector.v3.TlsInspector"}},
            {"name": "envoy.filters.listener.http_inspector"},
        ],
    )
    assert (listener.address, listener.port, listener.filter_chains) == ("0.0.0.0", 15006, ())
    assert (listener.default_filter_chain.name, listener.default_filter_chain.kind) == ("rest", m.ChainKind.TCP)
    assert listener.listener_filters == (
        m.Filter("proxy", f"{V3}.listener.tls_inspector.v3.TlsInspector"),
        m.Filter("envoy.filters.listener.http_inspector"),
    )
    assert (listener.tls_inspector, listener.http_inspector) == (m.Inspector(), None)


def test_downstream_tls():
    common = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
        **validating(match_subject_alt_names=[{"prefix": "spiffe://td/"}, {"prefix": "spiffe://old/"}]),
    }
    assert with_tls(common, require_client_certificate=True).tls == m.DownstreamTls(
        alpn=("h2", "http/1.1"),
        certificate=m.MeshSecret(),
        roots=m.MeshSecret(),
        require_client_certificate=True,
        subject_alt_names=tuple(
            m.StringMatch(m.StringMatchKind.PREFIX, f"spiffe://{domain}/") for domain in ("td", "old")
        ),
        min_version=m.TlsVersion.TLS_1_3,
    )
    simple = with_tls().tls
    assert (simple.roots, simple.require_client_certificate) == (None, False)


@pytest.mark.parametrize(
    ("common", "context", "reason"),
    [
        ({}, {"require_client_certificate": True}, "nothing says how to verify"),
        (
            validating(trust_chain_verification="ACCEPT_UNTRUSTED"),
            {"require_client_certificate": True},
            "nothing says how to verify",
        ),
        (validating(crl={"filename": "/crl"}), {}, "default_validation_context.crl: cannot be verified"),
        ({"tls_certificate_sds_secret_configs": [agent("default")] * 2}, {}, "only one certificate"),
        ({}, {"require_sni": True}, "require_sni: is not supported"),
        ({}, {"ocsp_staple_policy": "MUST_STAPLE"}, "MUST_STAPLE"),
    ],
)
def test_a_chain_that_asks_for_more_than_we_can_do_is_closed_and_the_others_are_not(common, context, reason):
    chain = with_tls(common, **context)
    assert chain.unusable.startswith("transport_socket.typed_config")
    assert reason in chain.unusable
    assert chain.tls is None


def test_an_upstream_context_in_a_chain_and_proxy_protocol_are_closed():
    wrong = {"name": "tls", "typed_config": {"@type": PACKED + "UpstreamTlsContext"}}
    assert "UpstreamTlsContext is not a transport" in a_chain(transport_socket=wrong).unusable
    assert a_chain(use_proxy_proto=True).unusable == "use_proxy_proto: is not supported"


def a_chain_with(place):
    """A chain with mutual TLS and HTTP, and a field of a later Envoy in one of its messages."""
    message = json_format.ParseDict(
        {"name": "l", "filter_chains": [{"name": "c", "filters": [HTTP]}]}, listener_pb2.Listener()
    )
    chain = message.filter_chains[0]
    chain.filter_chain_match.prefix_ranges.add(address_prefix="10.0.0.0").prefix_len.value = 8
    common = {"tls_certificate_sds_secret_configs": [agent("default")], **validating(), "tls_params": {}}
    context = json_format.ParseDict({"common_tls_context": common}, tls_pb2.DownstreamTlsContext())
    manager = http_connection_manager_pb2.HttpConnectionManager.FromString(chain.filters[0].typed_config.value)
    manager.upgrade_configs.add(upgrade_type="websocket")
    if place is not None:
        with_unknown_field(place(chain, context, manager))
    chain.filters[0].typed_config.Pack(manager)
    chain.transport_socket.typed_config.Pack(context)
    return parse(ResourceType.LISTENER, "l", ResourceType.LISTENER.value, message.SerializeToString()).value()


COMBINED = "common_tls_context.combined_validation_context."


@pytest.mark.parametrize(
    ("place", "where"),
    [
        (lambda c, t, h: c, ""),
        (lambda c, t, h: c.filter_chain_match, "filter_chain_match."),
        (lambda c, t, h: c.filter_chain_match.prefix_ranges[0], "filter_chain_match.prefix_ranges."),
        (lambda c, t, h: c.filters[0], "filters."),
        (lambda c, t, h: c.transport_socket, "transport_socket."),
        (lambda c, t, h: t, "transport_socket.typed_config."),
        (lambda c, t, h: t.common_tls_context, "transport_socket.typed_config.common_tls_context."),
        (
            lambda c, t, h: t.common_tls_context.tls_params,
            "transport_socket.typed_config.common_tls_context.tls_params.",
        ),
        (lambda c, t, h: t.common_tls_context.combined_validation_context, f"transport_socket.typed_config.{COMBINED}"),
        (
            lambda c, t, h: t.common_tls_context.combined_validation_context.default_validation_context,
            f"transport_socket.typed_config.{COMBINED}default_validation_context.",
        ),
        (lambda c, t, h: h.http_filters[0], "filters[0].typed_config.http_filters[0]."),
        (lambda c, t, h: h.upgrade_configs[0], "filters[0].typed_config.upgrade_configs[0]."),
        (lambda c, t, h: h.route_config, "filters[0].typed_config.route_config."),
        (
            lambda c, t, h: h.route_config.virtual_hosts[0].routes[0].match,
            "filters[0].typed_config.route_config.virtual_hosts.routes.match.",
        ),
    ],
)
def test_a_field_of_a_later_envoy_in_a_match_tls_or_routes_closes_the_chain(place, where):
    [known] = a_chain_with(None).filter_chains
    assert known.unusable == ""
    [chain] = a_chain_with(place).filter_chains
    assert chain.unusable == f"{where}field 1000: is not known to this release"
    assert chain.match == known.match


def test_a_server_without_a_certificate_makes_no_sense():
    with pytest.raises(DecodeError, match="a server needs a certificate"):
        with_tls({"tls_certificate_sds_secret_configs": []})


@pytest.mark.parametrize("said", [{"filter_chain_matcher": {}}, {"fcds_config": {}}])
def test_a_listener_that_chooses_chains_by_other_means_is_closed_whole(said):
    listener = decoded(filter_chains=[{"name": "c", "filters": [HTTP]}], **said)
    assert listener.filter_chains == ()
    assert listener.default_filter_chain.unusable == f"{next(iter(said))}: is not supported"


# Where an inspector does not look


def port_range(start, end):
    return {"destination_port_range": {"start": start, "end": end}}


predicates = st.recursive(
    st.tuples(st.integers(-5, 70000), st.integers(-5, 70000)).map(lambda r: port_range(*r))
    | st.just({"any_match": True}),
    lambda inner: st.one_of(
        inner.map(lambda p: {"not_match": p}),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: {"or_match": {"rules": p}}),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: {"and_match": {"rules": p}}),
    ),
    max_leaves=6,
)


def holds(predicate, port):
    [(rule, said)] = predicate.items()
    return {
        "destination_port_range": lambda: said["start"] <= port < said["end"],
        "any_match": lambda: True,
        "not_match": lambda: not holds(said, port),
        "or_match": lambda: any(holds(p, port) for p in said["rules"]),
        "and_match": lambda: all(holds(p, port) for p in said["rules"]),
    }[rule]()


INSPECTOR = {"name": "any", "typed_config": {"@type": FILTERS + "listener.http_inspector.v3.HttpInspector"}}


def inspector_but(*predicates):
    inspectors = [{**INSPECTOR, "filter_disabled": predicate} for predicate in predicates]
    return decoded(listener_filters=inspectors).http_inspector


@given(predicates, st.lists(st.integers(0, 65535), min_size=1))
def test_ports_of_a_predicate(predicate, ports):
    inspector = inspector_but(predicate)
    edges = [port for r in inspector.disabled_ports for edge in r for port in (edge - 1, edge)]
    for port in [*ports, *(edge for edge in edges if 0 <= edge < 65536)]:
        assert inspector.looks_at(port) == (not holds(predicate, port))
    assert list(inspector.disabled_ports) == sorted(inspector.disabled_ports)


def test_the_two_forms_that_istiod_sends():
    ports = {"or_match": {"rules": [port_range(80, 81), port_range(443, 444)]}}
    assert inspector_but(ports).disabled_ports == ((80, 81), (443, 444))
    only = inspector_but({"not_match": ports})
    assert [port for port in range(1, 1000) if only.looks_at(port)] == [80, 443]


def test_of_several_inspectors_each_looks():
    assert inspector_but(port_range(80, 90), port_range(85, 95)).disabled_ports == ((85, 90),)
    assert inspector_but(port_range(80, 81), port_range(443, 444)).disabled_ports == ()


def test_a_predicate_without_a_rule_makes_no_sense():
    with pytest.raises(DecodeError, match=r"listener_filters\[0\].filter_disabled.rule"):
        inspector_but({})


def test_a_field_of_a_later_envoy_in_the_tls_of_a_cluster_stops_the_calls_to_it():
    message, context = cluster("c"), tls_pb2.UpstreamTlsContext(sni="c")
    with_unknown_field(context.common_tls_context)
    message.transport_socket.typed_config.Pack(context)
    found = parse(ResourceType.CLUSTER, "c", ResourceType.CLUSTER.value, message.SerializeToString()).value()
    assert found.unusable.endswith("typed_config.common_tls_context.field 1000: is not known to this release")
