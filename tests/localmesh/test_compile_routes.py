"""Routes that the captures do not show. The rules are istiod's; each test names its own."""

from __future__ import annotations

from localmesh.compile import View
from tests.localmesh.yaml_folder import HOST, SERVICE, Compiled, resource

TO = "route: [{destination: {host: reviews}}]"


def service(spec, name="reviews", namespace="demo"):
    return resource("VirtualService", name, spec, namespace)


def clusters(routes):
    return [route.route.cluster for route in routes]


def names(routes):
    return [route.name for route in routes]


def test_short_names_expand_with_the_namespace_of_the_virtual_service(tmp_path):
    other = service("hosts: [reviews]\nhttp: [{name: not-ours, route: [{destination: {host: x}}]}]", "r", "other")
    ours = service("hosts: [reviews]\nhttp: [{route: [{destination: {host: ratings, subset: v9}}]}]")
    routes = Compiled(tmp_path, SERVICE, other, ours).routes()
    assert clusters(routes) == ["outbound|9080|v9|ratings.demo.svc.cluster.local"], "emitted, whether it exists or not"


def test_a_destination_is_the_service_of_its_name_in_whatever_case(tmp_path):
    """Services' names are small letters; a route to a cluster of another name fails each call."""
    route = "route: [{destination: {host: Reviews.Demo.svc.cluster.local}}]"
    compiled = Compiled(tmp_path, SERVICE, service(f"hosts: [reviews]\nhttp: [{{{route}}}]"))
    [called] = clusters(compiled.routes())
    assert called in compiled.snapshot.clusters(compiled.view)
    assert list(compiled.snapshot.oddities()) == []


def test_each_match_is_a_route_of_its_own_and_nothing_follows_a_catch_all(tmp_path):
    spec = (
        "hosts: [reviews]\nhttp:\n"
        f"- name: a\n  match: [{{name: one, uri: {{exact: /1}}}}, {{uri: {{prefix: /2}}}}]\n  {TO}\n"
        f"- name: b\n  match: [{{uri: {{prefix: /}}}}, {{uri: {{exact: /never}}}}]\n  {TO}\n- name: never\n  {TO}"
    )
    assert names(Compiled(tmp_path, SERVICE, service(spec)).routes()) == ["a.one", "a", "b"]


def test_matches_for_other_ports_gateways_and_sources_are_left_out(tmp_path):
    matches = {
        "port": "port: 9090",
        "gateway": "gateways: [ingress]",
        "namespace": "sourceNamespace: other",
        "labels": "sourceLabels: {app: other}",
        "mine": "port: 9080, gateways: [mesh]",
        "me": "sourceLabels: {app: me}, sourceNamespace: demo",
    }
    entries = [f"- name: {name}\n  match: [{{uri: {{prefix: /a}}, {m}}}]\n  {TO}" for name, m in matches.items()]
    spec = "hosts: [reviews]\nhttp:\n" + "\n".join(entries)
    view = View("demo", labels=(("app", "me"), ("version", "1")))
    assert names(Compiled(tmp_path, SERVICE, service(spec), view=view).routes()) == ["mine", "me"]


def test_when_no_route_is_for_the_client_the_default_one_is_sent(tmp_path):
    spec = f"hosts: [reviews]\nhttp: [{{match: [{{port: 1}}], {TO}}}]"
    assert names(Compiled(tmp_path, SERVICE, service(spec)).routes()) == ["default"]


def test_virtual_services_of_a_gateway_only_do_not_count(tmp_path):
    spec = f"hosts: [reviews]\ngateways: [ingress]\nhttp: [{{name: x, {TO}}}]"
    assert names(Compiled(tmp_path, SERVICE, service(spec)).routes()) == ["default"]


def test_the_most_specific_host_wins_and_of_two_equal_ones_the_first_by_name(tmp_path):
    documents = [
        service(f"hosts: ['*.local']\nhttp: [{{name: widest, {TO}}}]", "a"),
        service(f"hosts: ['*.demo.svc.cluster.local']\nhttp: [{{name: wide, {TO}}}]", "b"),
        service(f"hosts: [reviews]\nhttp: [{{name: first, {TO}}}]", "c"),
        service(f"hosts: [reviews]\nhttp: [{{name: second, {TO}}}]", "d"),
    ]
    assert names(Compiled(tmp_path / "1", SERVICE, *documents).routes()) == ["first"]
    assert names(Compiled(tmp_path / "2", SERVICE, *documents[:2]).routes()) == ["wide"]


def test_of_two_for_one_host_the_oldest_wins_whatever_its_name(tmp_path):
    def made(name, day):
        text = service(f"hosts: [reviews]\nhttp: [{{name: {name}, {TO}}}]", name)
        return text.replace("}", f", creationTimestamp: 2026-01-{day}T00:00:00Z}}", 1)

    compiled = Compiled(tmp_path, SERVICE, made("a", "03"), made("b", "01"), made("c", "02"))
    assert names(compiled.routes()) == ["b"]


def test_destinations_of_weight_0_are_left_out(tmp_path):
    split = (
        "{destination: {host: reviews, subset: v1}, weight: 0}, {destination: {host: reviews, subset: v2}, weight: 3}"
    )
    (route,) = Compiled(tmp_path, SERVICE, service(f"hosts: [reviews]\nhttp: [{{route: [{split}]}}]")).routes()
    chosen = [(cluster.name, cluster.weight.value) for cluster in route.route.weighted_clusters.clusters]
    assert chosen == [(f"outbound|9080|v2|{HOST}", 3)]


def test_no_timeout_is_0_and_attempts_0_turn_retries_off(tmp_path):
    spec = f"hosts: [reviews]\nhttp: [{{retries: {{attempts: 0}}, {TO}}}]"
    (route,) = Compiled(tmp_path, SERVICE, service(spec)).routes()
    assert route.route.HasField("timeout")
    assert route.route.timeout.ToNanoseconds() == 0
    assert not route.route.HasField("retry_policy")


def test_present_matches_and_missing_headers(tmp_path):
    match = "headers: {b: {}, a: {}}, withoutHeaders: {c: {}, d: {prefix: x}}"
    (route,) = Compiled(
        tmp_path, SERVICE, service(f"hosts: [reviews]\nhttp: [{{match: [{{{match}}}], {TO}}}]")
    ).routes()
    found = [(h.name, h.present_match, h.invert_match, h.treat_missing_header_as_empty) for h in route.match.headers]
    assert found == [
        ("a", True, False, False),
        ("b", True, False, False),
        ("c", True, True, False),
        ("d", False, True, True),
    ]


def test_authority_in_header_operations_rewrites_the_host(tmp_path):
    headers = "headers: {request: {set: {Host: other, x-a: b}, remove: [':path', x-r]}}"
    (route,) = Compiled(tmp_path, SERVICE, service(f"hosts: [reviews]\nhttp: [{{{headers}, {TO}}}]")).routes()
    assert route.route.host_rewrite_literal == "other"
    assert [option.header.key for option in route.request_headers_to_add] == ["x-a"]
    assert list(route.request_headers_to_remove) == ["x-r"]


def test_a_redirect_leaves_the_schemes_own_port_out(tmp_path):
    spec = (
        "hosts: [reviews]\nhttp:\n- match: [{uri: {prefix: /a}}]\n  redirect: {scheme: https, port: 443, uri: /x}\n"
        "- redirect: {port: 8443, redirectCode: 308}"
    )
    first, second = Compiled(tmp_path, SERVICE, service(spec)).routes()
    assert (first.redirect.port_redirect, first.redirect.scheme_redirect) == (0, "https")
    assert second.redirect.port_redirect == 8443


def test_a_host_that_only_a_virtual_service_names_exists_on_port_80_and_beside_its_services(tmp_path):
    alone = service(f"hosts: [shop.example.org]\nhttp: [{{name: alone, {TO}}}]", "a")
    beside = service(f"hosts: [beside.example.org, reviews]\nhttp: [{{name: beside, {TO}}}]", "b")
    compiled = Compiled(tmp_path, SERVICE, alone, beside)
    assert names(compiled.routes("shop.example.org:80")) == ["alone"]
    assert names(compiled.routes("shop.example.org:9080")) == []
    assert names(compiled.routes("beside.example.org:9080")) == ["beside"]


def test_the_hash_policy_of_the_subset_wins_and_keeps_the_host_on_retries(tmp_path):
    rule = resource(
        "DestinationRule",
        "r",
        "host: reviews\ntrafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}\n"
        "subsets: [{name: v2, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}]",
    )
    spec = "hosts: [reviews]\nhttp: [{route: [{destination: {host: reviews, subset: v2}}]}]"
    (route,) = Compiled(tmp_path, SERVICE, rule, service(spec)).routes()
    assert [policy.header.header_name for policy in route.route.hash_policy] == ["x-user"]
    assert not route.route.retry_policy.retry_host_predicate
