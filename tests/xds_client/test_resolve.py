"""Whole or nothing: what a target resolves to, what it asks for, and when it must be resolved again."""

from __future__ import annotations

import pytest

from tests.xds_client.mesh import REVIEWS, REVIEWS_ROUTE, broken_cluster, cluster, endpoints, kind_of, name_of, route
from xds_client import TargetConfig, TargetMissing
from xds_client.cache import Caches
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.model import Target
from xds_client.resolve import Selection, resolve
from xds_client.resource_type import ResourceType
from xds_client.session import Update

TARGET = Target("reviews", 9080)


def update(*messages, **fields):
    kind = kind_of(messages[0]) if messages else fields.pop("kind")
    parsed = {name_of(m): parse(kind, name_of(m), kind.value, m.SerializeToString()) for m in messages}
    return Update(kind, accepted=parsed, whole=kind.by_wildcard, **fields)


def caches(*messages, base=None):
    result = base or Caches()
    for message in messages:
        result = result.apply(update(message))
    return result


def asked(resolution):
    return {(kind.name, name) for kind, name in resolution.read}


def test_names_are_asked_step_by_step_and_nothing_is_announced_before_all_is_there(node):
    state = caches()
    resolution = resolve(TARGET, state, node)
    assert (resolution.observed, asked(resolution)) == (None, {("ROUTE", REVIEWS_ROUTE)})
    state = caches(route(REVIEWS_ROUTE, "c1", "c2"), base=state)
    resolution = resolve(TARGET, state, node)
    assert resolution.observed is None
    assert asked(resolution) == {("ROUTE", REVIEWS_ROUTE), ("CLUSTER", "c1"), ("CLUSTER", "c2")}
    state = caches(cluster("c1"), cluster("c2"), endpoints("c1", "10.0.0.1"), base=state)
    resolution = resolve(TARGET, state, node)
    assert resolution.observed is None
    assert ("ENDPOINT", "c2") in asked(resolution)
    config = resolve(TARGET, caches(endpoints("c2"), base=state), node).observed
    assert isinstance(config, TargetConfig)
    assert (config.host, config.route_name) == (REVIEWS, REVIEWS_ROUTE)
    assert [c.name for c in config.clusters] == ["c1", "c2"]
    assert all(c.error is None for c in config.clusters)


def test_what_only_routes_of_other_calls_lead_to_is_not_asked_for_and_the_tables_own_terms_come_along(node):
    table = route(REVIEWS_ROUTE, "c1")
    table.request_headers_to_remove.append("x-a")
    other = table.virtual_hosts[0].routes.add(name="other")
    other.match.prefix = "/"
    other.match.query_parameters.add(name="q")
    other.route.cluster = "c2"
    resolution = resolve(TARGET, caches(table, cluster("c1"), endpoints("c1", "10.0.0.1")), node)
    config = resolution.observed
    assert [c.name for c in config.clusters] == ["c1"]
    assert [r.name for r in config.virtual_host.routes] == ["default", "other"]
    assert config.table.headers.request_remove == ("x-a",)


def test_a_missing_cluster_fails_only_itself(node):
    state = caches(route(REVIEWS_ROUTE, "c1", "c2"), cluster("c1"), endpoints("c1", "10.0.0.1"))
    good, bad = resolve(TARGET, state, node).observed.clusters
    assert good.error is None
    assert (bad.cluster, bad.endpoints) == (None, None)
    assert "'c2'" in bad.error


def test_missing_endpoints_fail_only_their_cluster(node):
    state = caches(route(REVIEWS_ROUTE, "c1", "c2"), cluster("c1"), cluster("c2"), endpoints("c1", "10.0.0.1"))
    state = state.apply(update(kind=ResourceType.ENDPOINT, removed={"c2": "nobody knows it"}))
    good, bad = resolve(TARGET, state, node).observed.clusters
    assert good.error is None
    assert bad.error == "endpoints 'c2': nobody knows it"


def test_a_cluster_that_was_never_good_fails_only_itself(node):
    state = caches(route(REVIEWS_ROUTE, "c1", "c2"), broken_cluster("c1"), cluster("c2"), endpoints("c2", "10.0.0.1"))
    resolution = resolve(TARGET, state, node)
    bad, good = resolution.observed.clusters
    assert good.error is None
    assert "lb_policy: 99" in bad.error
    assert [e.name for e in resolution.errors] == ["c1"]


def test_the_last_good_form_stays_when_the_newest_makes_no_sense(node):
    state = caches(route(REVIEWS_ROUTE, "c1"), cluster("c1"), endpoints("c1", "10.0.0.1"))
    before = resolve(TARGET, state, node).observed
    state = caches(broken_cluster("c1"), base=state)
    for _ in range(2):
        resolution = resolve(TARGET, state, node)
        assert resolution.observed == before
        assert [e.name for e in resolution.errors] == ["c1"]
    state = caches(cluster("c1", alt_stat_name="another bad one comes"), broken_cluster("c1"), base=state)
    assert resolve(TARGET, state, node).observed == before


def test_an_unknown_host_names_host_answer_and_node(node):
    missing = resolve(TARGET, caches(route(REVIEWS_ROUTE), route("9080")), node).observed
    assert isinstance(missing, TargetMissing)
    for part in ("'reviews'", f"empty route table for {REVIEWS_ROUTE}", node.id):
        assert part in missing.reason


def test_the_next_candidate_is_asked_only_when_the_one_before_is_known_to_be_unknown(node):
    target = Target("example.org", 80)  # or is it service "example" in namespace "org"?
    first, second = "example.org.svc.cluster.local:80", "example.org:80"
    assert asked(resolve(target, caches(), node)) == {("ROUTE", first)}
    state = caches(route(first))
    assert asked(resolve(target, state, node)) == {("ROUTE", first), ("ROUTE", second)}
    unknown = resolve(target, caches(route(second), base=state), node)
    assert (unknown.observed, asked(unknown)) == (None, {("ROUTE", first), ("ROUTE", second), ("ROUTE", "80")})
    state = caches(route(second, "c"), cluster("c"), endpoints("c"), base=state)
    resolution = resolve(target, state, node)
    assert resolution.observed.host == "example.org"
    assert ("ROUTE", first) in asked(resolution), "it may appear later, and then it is the one meant"


def test_a_table_left_empty_because_its_other_name_was_asked_too_is_asked_again(node):
    target = Target("reviews.demo", 9080)
    literal = "reviews.demo:9080"
    state = caches(route(REVIEWS_ROUTE), route(literal), route("9080"))
    assert isinstance(resolve(target, state, node).observed, TargetMissing)
    robber = route(literal, "c")
    robber.virtual_hosts[0].name = REVIEWS_ROUTE  # the service appeared, and only one of its names got it
    state = caches(robber, base=state)
    resolution = resolve(target, state, node)
    assert resolution.observed is None
    assert asked(resolution) == {("ROUTE", REVIEWS_ROUTE)}
    assert resolution.again == {(ResourceType.ROUTE, REVIEWS_ROUTE)}
    state = state.forget(resolution.again)
    assert resolution.stands(state)
    state = caches(route(REVIEWS_ROUTE, "c"), cluster("c"), endpoints("c"), base=state)
    assert resolve(target, state, node).observed.host == REVIEWS


def test_a_table_without_a_virtual_host_of_that_name_is_an_absence(node):
    other = route(REVIEWS_ROUTE, "c", domains=("other",))
    missing = resolve(TARGET, caches(other, route("9080")), node).observed
    assert "no virtual host of that name" in missing.reason


def whole_port(*virtual_hosts):
    """The table of port 80 as istiod makes it."""
    table = route("80")
    table.ignore_port_in_host_matching = True
    for name, domain, target in virtual_hosts:
        table.virtual_hosts.add().CopyFrom(route("80", target, domains=(domain,)).virtual_hosts[0])
        table.virtual_hosts[-1].name = name
    return table


ALLOW_ANY = ("allow_any", "*", "PassthroughCluster")
WILDCARD_ONLY = ("*.unknown.example.com:80", "*.unknown.example.com", "c")


def test_a_host_that_only_a_wildcard_covers_is_found_in_the_table_of_the_whole_port(node):
    target = Target("a.unknown.example.com", 80)
    state = caches(route("a.unknown.example.com:80"), whole_port(WILDCARD_ONLY, ALLOW_ANY), cluster("c"))
    config = resolve(target, caches(endpoints("c", "10.0.0.1"), base=state), node).observed
    assert (config.host, config.route_name) == ("a.unknown.example.com", "80")
    assert [(c.name, c.error) for c in config.clusters] == [("c", None)]


@pytest.mark.parametrize(("unknown", "says"), [(("block_all", "*", "c"), "REGISTRY_ONLY"), (None, "no such host")])
def test_what_becomes_of_hosts_that_the_mesh_does_not_know_is_said_by_name(node, unknown, says):
    table = whole_port(WILDCARD_ONLY, *([unknown] if unknown else []))
    missing = resolve(Target("b.example.com", 80), caches(route("b.example.com:80"), table), node).observed
    assert isinstance(missing, TargetMissing)
    assert says in missing.reason


def past_the_mesh(target, *more, node):
    """What becomes of an unknown host where the mesh lets such be called."""
    return resolve(target, caches(*no_table(target, node), whole_port(ALLOW_ANY), *more), node).observed


@pytest.mark.parametrize("host", ["api.example.org", "legacy", "db.other"])
def test_a_host_that_the_mesh_does_not_know_is_called_by_the_name_as_it_was_written(node, host):
    config = past_the_mesh(Target(host, 80), original_dst("PassthroughCluster"), node=node)
    assert (config.host, config.virtual_host.name) == (host, "allow_any")
    [joined] = config.clusters
    [locality] = joined.endpoints.localities
    assert [(one.address, one.port) for one in locality.endpoints] == [(host, 80)]
    assert joined.cluster.tls is None
    for word in ("no host", "empty route table", "ALLOW_ANY", node.id):
        assert word in config.past_the_mesh


def test_a_port_of_another_protocol_is_not_called_past_the_mesh(node):
    """A sidecar has a listener for it, and its mutual TLS: plaintext would be less than that."""
    tcp = cluster("outbound|80||legacy.demo.svc.cluster.local")
    missing = past_the_mesh(Target("legacy", 80), original_dst("PassthroughCluster"), tcp, node=node)
    assert isinstance(missing, TargetMissing)
    assert tcp.name in missing.reason


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("db.demo.svc.cluster.local", "db-0.db.demo.svc.cluster.local"),
        ("db.demo.svc.cluster.local", "db-0.db.demo.svc"),
        ("db.demo.svc.cluster.local", "db-0.db.demo"),
        ("db.demo.svc.cluster.local", "db-0.db"),
        ("*.corp.example", "api.corp.example"),
        ("*.corp.example", "v1.api.corp.example"),
    ],
)
def test_nor_is_what_such_a_port_covers(node, name, host):
    """A pod of a headless Service, a host that a ServiceEntry's wildcard means: they went there in plaintext."""
    tcp = original_dst(f"outbound|80||{name}")
    missing = past_the_mesh(Target(host, 80), original_dst("PassthroughCluster"), tcp, node=node)
    assert isinstance(missing, TargetMissing)
    assert tcp.name in missing.reason


@pytest.mark.parametrize(
    ("name", "host"),
    [("corp.example", "api.corp.example"), ("*.corp.example", "corp.example"), ("*.corp.example", "api.other.example")],
)
def test_what_such_a_port_does_not_cover_is_called_past_the_mesh(node, name, host):
    """Only the names of a headless Service's pods are below its own, and a wildcard stands for at least one label."""
    tcp = cluster(f"outbound|80||{name}")
    config = past_the_mesh(Target(host, 80), original_dst("PassthroughCluster"), tcp, node=node)
    assert isinstance(config, TargetConfig)


def test_before_the_clusters_have_come_nobody_is_called_past_the_mesh(node):
    assert past_the_mesh(Target("legacy", 80), node=node) is None


def test_a_malformed_table_that_was_never_good_is_said(node):
    state = caches(route(REVIEWS_ROUTE, "c", domains=()))
    missing = resolve(TARGET, state, node).observed
    assert "domains: at least one is required" in missing.reason


def test_dns_clusters_bring_their_endpoints(node):
    dns = cluster("dns")
    dns.type = dns.STRICT_DNS
    dns.load_assignment.CopyFrom(endpoints("dns", "api.example.org"))
    [joined] = resolve(TARGET, caches(route(REVIEWS_ROUTE, "dns"), dns), node).observed.clusters
    assert joined.endpoints.localities[0].endpoints[0].address == "api.example.org"


def original_dst(name):
    """As istiod makes it of headless Services."""
    made = cluster(name)
    made.type, made.lb_policy = made.ORIGINAL_DST, made.CLUSTER_PROVIDED
    return made


def where(made, target, *tables, node):
    """Host and port of the cluster's one endpoint, or why there is none."""
    [joined] = resolve(target, caches(*tables, made), node).observed.clusters
    if joined.error is not None:
        return joined.error
    [locality] = joined.endpoints.localities
    [endpoint] = locality.endpoints
    return endpoint.address, endpoint.port


HEADLESS = f"outbound|9080||{REVIEWS}"


def test_original_dst_is_the_name_and_port_that_the_caller_said(node):
    table = route(REVIEWS_ROUTE, HEADLESS)
    assert where(original_dst(HEADLESS), TARGET, table, node=node) == (REVIEWS, 9080)


def test_a_pod_of_a_headless_service_is_called_by_its_own_name(node):
    """istiod has its name in the table of the whole port alone: ``*.reviews.demo.svc.cluster.local``."""
    pod = f"reviews-0.{REVIEWS}"
    table = route("9080", HEADLESS, domains=(REVIEWS, f"*.{REVIEWS}"))
    table.ignore_port_in_host_matching = True
    empty = route(f"{pod}:9080")
    assert where(original_dst(HEADLESS), Target(pod, 9080), table, empty, node=node) == (pod, 9080)


# what istiod has for a client of the Service's own namespace, beside a wildcard of each (generateVirtualHostDomains)
NAMES = (REVIEWS, "reviews", "reviews.demo.svc", "reviews.demo")


def headless_table(*domains):
    """Of the whole port, which one host has: the headless Service."""
    table = route("9080", HEADLESS, domains=domains)
    table.ignore_port_in_host_matching = True
    table.virtual_hosts[0].name = REVIEWS_ROUTE
    return table


def no_table(target, node):
    """The answers for what is asked before the table of the whole port."""
    return [route(f"{host}:{target.port}") for host in target.candidates(node.namespace, node.domain)]


@pytest.mark.parametrize("service", NAMES)
def test_a_pod_of_a_headless_service_is_called_by_whatever_short_name_it_has(node, service):
    """By its full name: the program's own search list may not know it as the mesh does."""
    target = Target(f"reviews-0.{service}", 9080)
    table = headless_table(*NAMES, *(f"*.{name}" for name in NAMES))
    tables = table, *no_table(target, node)
    assert where(original_dst(HEADLESS), target, *tables, node=node) == (f"reviews-0.{REVIEWS}", 9080)


def test_of_short_names_that_all_match_the_longest_is_meant(node):
    """As in Envoy: reviews-0.a.a is a pod of the Service a in the namespace a, not a pod reviews-0.a of it."""
    target = Target("reviews-0.a.a", 9080)
    host = "a.a.svc.cluster.local"
    table = headless_table(*(f"*.{name}" for name in ("a", "a.a", "a.a.svc", host)))
    table.virtual_hosts[0].name = f"{host}:9080"
    table.virtual_hosts[0].routes[0].route.cluster = f"outbound|9080||{host}"
    made = original_dst(f"outbound|9080||{host}")
    assert where(made, target, table, *no_table(target, node), node=node) == (f"reviews-0.{host}", 9080)


def test_an_address_of_a_service_is_called_itself_as_behind_a_sidecar(node):
    """A ServiceEntry's ``addresses`` are domains of its virtual host."""
    target = Target("10.1.2.3", 9080)
    tables = headless_table(REVIEWS, "10.1.2.3"), *no_table(target, node)
    assert where(original_dst(HEADLESS), target, *tables, node=node) == ("10.1.2.3", 9080)


def test_a_route_of_a_short_name_to_another_hosts_original_dst_means_that_host(node):
    target = Target("reviews-0.reviews", 9080)
    made = original_dst("outbound|7070||reviews.prod.svc.cluster.local")
    table = headless_table("*.reviews")
    table.virtual_hosts[0].routes[0].route.cluster = made.name
    assert where(made, target, table, *no_table(target, node), node=node) == ("reviews.prod.svc.cluster.local", 7070)


def test_where_a_route_leads_to_another_hosts_original_dst_its_own_name_and_port_are_meant(node):
    table = route(REVIEWS_ROUTE, "outbound|7070||ratings.demo.svc.cluster.local")
    made = original_dst("outbound|7070||ratings.demo.svc.cluster.local")
    assert where(made, TARGET, table, node=node) == ("ratings.demo.svc.cluster.local", 7070)


def test_a_wildcard_has_no_address_but_those_that_it_covers_have(node):
    made = original_dst("outbound|443||*.example.org")
    table = route("api.example.org:443", made.name)
    assert where(made, Target("api.example.org", 443), table, node=node) == ("api.example.org", 443)
    assert "'*.example.org'" in where(made, TARGET, route(REVIEWS_ROUTE, made.name), node=node)


def test_the_target_port_of_a_service_entry_is_obeyed_as_envoy_does(node):
    made = original_dst(HEADLESS)
    made.original_dst_lb_config.upstream_port_override.value = 19080
    assert where(made, TARGET, route(REVIEWS_ROUTE, HEADLESS), node=node) == (REVIEWS, 19080)


def test_subsets_of_original_dst_are_said_to_be_left_out(node):
    made = original_dst(f"outbound|9080|v1|{REVIEWS}")
    [joined] = resolve(TARGET, caches(route(REVIEWS_ROUTE, made.name), made), node).observed.clusters
    [left_out] = joined.cluster.left_out
    assert left_out.startswith("subset v1 ")


def test_a_resolution_stands_until_something_it_read_changes(node):
    state = caches(route(REVIEWS_ROUTE, "c1"), cluster("c1"), endpoints("c1", "10.0.0.1"))
    resolution = resolve(TARGET, state, node)
    for unrelated in (cluster("c9"), endpoints("c9", "10.0.0.9"), route("other:1", "c1")):
        state = caches(unrelated, base=state)
        assert resolution.stands(state)
    again = caches(route(REVIEWS_ROUTE, "c1"), cluster("c1"), endpoints("c1", "10.0.0.1"), base=state)
    assert resolution.stands(again), "the same bytes under a new version are no change"
    assert not resolution.stands(caches(endpoints("c1", "10.0.0.2"), base=state))


def test_a_selection_tells_found_from_missing_and_leaves_out_what_is_not_answered(node):
    state = caches(endpoints("a", "10.0.0.1"))
    state = state.apply(update(kind=ResourceType.ENDPOINT, removed={"b": "gone"}))
    bad = DecodeError(ResourceType.ENDPOINT, "c", "", "is not valid protobuf")
    state = state.apply(update(kind=ResourceType.ENDPOINT, rejected=(bad,)))
    selected = resolve(Selection(ResourceType.ENDPOINT, frozenset("abcd")), state, node).observed
    assert list(selected.found) == ["a"]
    assert selected.missing["b"] == "gone"
    assert "protobuf" in selected.missing["c"]
    assert "d" not in selected.missing
    assert resolve(Selection(ResourceType.ENDPOINT, frozenset("d")), state, node).observed is None


@pytest.mark.parametrize("kind", [ResourceType.CLUSTER, ResourceType.ENDPOINT])
def test_absence_says_something_only_for_a_type_that_was_sent_whole(node, kind):
    state = caches(cluster("a"), endpoints("a"))
    selected = resolve(Selection(kind, frozenset("z")), state, node).observed
    assert (selected is not None) == kind.by_wildcard
    assert resolve(Selection(kind, frozenset("z")), state.new_stream(), node).observed is None
