"""Clusters and endpoints that the captures do not show. The rules are istiod's; each test names its own."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from localmesh.compile import Locality, View, snapshot
from tests.localmesh.yaml_folder import HOST, SERVICE, Compiled, resource, tls_context

NAME = f"outbound|9080||{HOST}"
V2 = f"outbound|9080|v2|{HOST}"


def rule(spec, name="reviews", namespace="demo"):
    return resource("DestinationRule", name, spec, namespace)


def subset_rule(policy="{}", subset_policy="{}"):
    return rule(
        f"host: reviews\ntrafficPolicy: {policy}\n"
        f"subsets: [{{name: v2, labels: {{version: v2}}, trafficPolicy: {subset_policy}}}]"
    )


def addresses(localities):
    return [e.endpoint.address.socket_address.address for group in localities for e in group.lb_endpoints]


def test_auto_mtls_matches_endpoints_by_their_tls_mode(tmp_path):
    compiled = Compiled(tmp_path, SERVICE)
    first, second = compiled.cluster(NAME).transport_socket_matches
    assert (first.name, dict(first.match)) == ("tlsMode-istio", {"tlsMode": "istio"})
    context = tls_context(first.transport_socket)
    assert context.sni == f"outbound_.9080_._.{HOST}"
    names = context.common_tls_context.combined_validation_context.default_validation_context.match_subject_alt_names
    assert [name.exact for name in names] == ["spiffe://cluster.local/ns/demo/sa/two"]
    assert (second.name, dict(second.match)) == ("tlsMode-disabled", {})
    modes = [
        "envoy.transport_socket_match" in endpoint.metadata.filter_metadata
        for group in compiled.localities(NAME)
        for endpoint in group.lb_endpoints
    ]
    assert modes == [False, True], "only the endpoint with a service account can do mTLS"


def test_auto_mtls_turned_off_is_plaintext_but_endpoints_keep_their_mode(tmp_path):
    compiled = Compiled(tmp_path, SERVICE, mesh="enableAutoMtls: false")
    cluster = compiled.cluster(NAME)
    assert not cluster.transport_socket_matches
    assert not cluster.HasField("transport_socket")
    second = compiled.localities(NAME)[1].lb_endpoints[0]
    assert second.metadata.filter_metadata["envoy.transport_socket_match"]["tlsMode"] == "istio"


def test_tls_simple_takes_sni_from_the_request_unless_it_is_written(tmp_path):
    compiled = Compiled(tmp_path, SERVICE, subset_rule("{tls: {mode: SIMPLE}}", "{tls: {mode: SIMPLE, sni: s}}"))
    options = HttpProtocolOptions()
    cluster = compiled.cluster(NAME)
    assert cluster.typed_extension_protocol_options[HttpProtocolOptions.DESCRIPTOR.full_name].Unpack(options)
    assert options.upstream_http_protocol_options.auto_sni
    common = tls_context(cluster.transport_socket).common_tls_context
    assert list(common.alpn_protocols) == ["h2"]
    assert common.combined_validation_context.validation_context_sds_secret_config.name == "file-root:system"
    assert tls_context(compiled.cluster(V2).transport_socket).sni == "s"
    assert cluster.metadata.filter_metadata["istio"]["alpn_override"] == "false"


def test_tls_disable_of_a_subset_unmarks_its_endpoints(tmp_path):
    compiled = Compiled(tmp_path, SERVICE, subset_rule("{tls: {mode: ISTIO_MUTUAL}}", "{tls: {mode: DISABLE}}"))
    assert compiled.cluster(NAME).HasField("transport_socket")
    assert not compiled.cluster(V2).HasField("transport_socket")
    assert "envoy.transport_socket_match" in compiled.localities(NAME)[1].lb_endpoints[0].metadata.filter_metadata
    (group,) = compiled.localities(V2)
    assert list(group.lb_endpoints[0].metadata.filter_metadata) == ["istio"]


def test_a_subset_overrides_what_it_says_and_inherits_the_rest(tmp_path):
    pool = "{connectionPool: {http: {http2MaxRequests: 7}}, loadBalancer: {simple: RANDOM}}"
    compiled = Compiled(tmp_path, SERVICE, subset_rule(pool, "{loadBalancer: {simple: ROUND_ROBIN}}"))
    cluster = compiled.cluster(V2)
    assert cluster.lb_policy == Cluster.ROUND_ROBIN
    assert cluster.circuit_breakers.thresholds[0].max_requests.value == 7
    assert compiled.cluster(NAME).lb_policy == Cluster.RANDOM


def test_port_level_settings_replace_the_whole_policy_of_that_port(tmp_path):
    spec = (
        "host: reviews\ntrafficPolicy:\n  loadBalancer: {simple: RANDOM}\n  tls: {mode: ISTIO_MUTUAL}\n"
        "  portLevelSettings: [{port: {number: 9080}, connectionPool: {tcp: {connectTimeout: 3s}}}]"
    )
    compiled = Compiled(tmp_path, SERVICE, rule(spec))
    at_port, other = compiled.cluster(NAME), compiled.cluster(f"outbound|9090||{HOST}")
    assert at_port.lb_policy == Cluster.LEAST_REQUEST
    assert at_port.connect_timeout.seconds == 3
    assert len(at_port.transport_socket_matches) == 2, "no TLS is written for the port: auto-mTLS"
    assert other.lb_policy == Cluster.RANDOM
    assert other.connect_timeout.seconds == 10
    assert other.HasField("transport_socket")


def test_two_rules_for_a_host_add_their_subsets(tmp_path):
    first = rule("host: reviews\nsubsets: [{name: v1, labels: {version: v1}}]", "a")
    second = rule(f"host: {HOST}\nsubsets: [{{name: v2, labels: {{version: v2}}}}, {{name: v1}}]", "b")
    compiled = Compiled(tmp_path, first, second, SERVICE)
    assert addresses(compiled.localities(f"outbound|9080|v1|{HOST}")) == ["127.0.0.1"]
    assert addresses(compiled.localities(V2)) == ["127.0.0.2"]


def test_the_clients_namespace_has_the_first_word_then_the_services_then_the_root(tmp_path):
    balancers = {"client": "RANDOM", "demo": "ROUND_ROBIN", "istio-system": "LEAST_REQUEST"}
    rules = [
        rule(f"host: '*.svc.cluster.local'\ntrafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}", "r", namespace)
        for namespace, balancer in balancers.items()
    ]
    compiled = Compiled(tmp_path, SERVICE, *rules)
    assert compiled.cluster(NAME, View("client")).lb_policy == Cluster.RANDOM
    assert compiled.cluster(NAME, View("elsewhere")).lb_policy == Cluster.ROUND_ROBIN


def test_an_exact_host_wins_over_wildcards_and_the_longer_wildcard_over_the_shorter(tmp_path):
    def of(host, balancer, name):
        return rule(f"host: '{host}'\ntrafficPolicy: {{loadBalancer: {{simple: {balancer}}}}}", name)

    wide, narrow = of("*.cluster.local", "RANDOM", "a"), of("*.demo.svc.cluster.local", "ROUND_ROBIN", "b")
    assert Compiled(tmp_path / "1", SERVICE, wide, narrow).cluster(NAME).lb_policy == Cluster.ROUND_ROBIN
    exact = of(HOST, "LEAST_REQUEST", "c")
    assert Compiled(tmp_path / "2", SERVICE, wide, narrow, exact).cluster(NAME).lb_policy == Cluster.LEAST_REQUEST


def test_dns_clusters_carry_their_endpoints_and_have_no_eds(tmp_path):
    spec = (
        "hosts: [db.example.org]\nlocation: MESH_EXTERNAL\nresolution: DNS\nports: [{number: 80, name: http, protocol: "
        "HTTP}]\nendpoints: [{address: a.example.org, ports: {http: 8080}}, {address: b.example.org, weight: 2}]"
    )
    compiled = Compiled(tmp_path, resource("ServiceEntry", "db", spec))
    cluster = compiled.cluster("outbound|80||db.example.org")
    assert cluster.type == Cluster.STRICT_DNS
    assert not cluster.transport_socket_matches, "external services have no mTLS of their own"
    sockets = [e.endpoint.address.socket_address for e in cluster.load_assignment.endpoints[0].lb_endpoints]
    assert [(socket.address, socket.port_value) for socket in sockets] == [
        ("a.example.org", 8080),
        ("b.example.org", 80),
    ]
    assert not compiled.localities("outbound|80||db.example.org")


def test_workload_entries_are_selected_by_labels_in_their_namespace(tmp_path):
    spec = (
        "hosts: [w.demo.svc.cluster.local]\nlocation: MESH_INTERNAL\nresolution: STATIC\n"
        "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8000}]\nworkloadSelector: {labels: {app: w}}"
    )
    documents = [
        resource("ServiceEntry", "w", spec),
        resource("WorkloadEntry", "b", "address: 10.0.0.2\nlabels: {app: w}\nports: {http: 9000, other: 1}"),
        resource("WorkloadEntry", "a", "address: 10.0.0.1\nlabels: {app: w}"),
        resource("WorkloadEntry", "c", "address: 10.0.0.3\nlabels: {app: other}"),
        resource("WorkloadEntry", "d", "address: 10.0.0.4\nlabels: {app: w}", "elsewhere"),
        resource("WorkloadEntry", "e", "address: name.example.org\nlabels: {app: w}"),
    ]
    (group,) = Compiled(tmp_path, *documents).localities("outbound|80||w.demo.svc.cluster.local")
    sockets = [e.endpoint.address.socket_address for e in group.lb_endpoints]
    assert [(socket.address, socket.port_value) for socket in sockets] == [("10.0.0.1", 8000), ("10.0.0.2", 9000)]


@pytest.mark.parametrize(
    ("locality", "policy", "priorities"),
    [
        (Locality("eu", "a"), "{outlierDetection: {}}", {"": 1, "eu/a": 0}),
        (Locality("eu", "b"), "{outlierDetection: {}}", {"": 1, "eu/a": 0}),
        (Locality(), "{outlierDetection: {}}", {"": 0, "eu/a": 1}),
        (Locality("eu", "a"), "{}", {"": 0, "eu/a": 0}),
        (
            Locality("eu", "a"),
            "{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}",
            {"": 0, "eu/a": 0},
        ),
    ],
    ids=["same zone", "same region", "nowhere", "no outlier detection", "turned off"],
)
def test_priorities_need_outlier_detection(tmp_path, locality, policy, priorities):
    compiled = Compiled(tmp_path, SERVICE, subset_rule(policy), view=View("demo", locality))
    groups = compiled.localities(NAME)
    found = {"/".join(filter(None, (g.locality.region, g.locality.zone))): g.priority for g in groups}
    assert found == priorities


def test_distribute_gives_localities_their_share_and_empties_the_others(tmp_path):
    policy = "{loadBalancer: {localityLbSetting: {distribute: [{from: 'us/*', to: {'eu/*': 100}}]}}}"
    compiled = Compiled(tmp_path, SERVICE, subset_rule(policy), view=View("demo", Locality("us", "c")))
    nowhere, eu = compiled.localities(NAME)
    assert not nowhere.lb_endpoints
    assert eu.load_balancing_weight.value == 100
    assert compiled.cluster(NAME).common_lb_config.HasField("locality_weighted_lb_config")


def test_an_unknown_subset_has_all_endpoints_and_no_cluster(tmp_path):
    compiled = Compiled(tmp_path, SERVICE, subset_rule())
    assert addresses(compiled.localities(f"outbound|9080|nosuch|{HOST}")) == ["127.0.0.1", "127.0.0.2"]
    assert f"outbound|9080|nosuch|{HOST}" not in compiled.snapshot.clusters(View("demo"))


@pytest.mark.parametrize(
    "name",
    ["garbage", "outbound|1||nosuch", f"outbound|{'9' * 5000}||{HOST}", f"outbound|x||{HOST}", f"inbound|9080||{HOST}"],
)
def test_unknown_names_have_no_endpoints(tmp_path, name):
    assert not Compiled(tmp_path, SERVICE).localities(name)


def test_a_port_without_a_protocol_follows_the_client_and_has_routes(tmp_path):
    spec = (
        "hosts: [s.demo.svc.cluster.local]\nlocation: MESH_INTERNAL\nresolution: STATIC\nports: [{number: 1, name: a}]"
    )
    compiled = Compiled(tmp_path, resource("ServiceEntry", "s", spec))
    options = HttpProtocolOptions()
    cluster = compiled.cluster("outbound|1||s.demo.svc.cluster.local")
    assert cluster.typed_extension_protocol_options[HttpProtocolOptions.DESCRIPTOR.full_name].Unpack(options)
    assert options.HasField("use_downstream_protocol_config")
    assert [route.name for route in compiled.routes("s.demo.svc.cluster.local:1")] == ["default"]


def test_a_service_without_resolution_goes_where_the_caller_points(tmp_path):
    spec = "hosts: [n.example.org]\nresolution: NONE\nports: [{number: 1, name: a, protocol: HTTP}]"
    cluster = Compiled(tmp_path, resource("ServiceEntry", "none", spec)).cluster("outbound|1||n.example.org")
    assert (cluster.type, cluster.lb_policy) == (Cluster.ORIGINAL_DST, Cluster.CLUSTER_PROVIDED)
    assert not cluster.transport_socket_matches


HEAVY = "{address: %s, weight: 4294967295}, {address: %s, weight: 1}"


def heavy(resolution, *addresses):
    ports = "ports: [{number: 9080, name: grpc, protocol: GRPC}]"
    spec = f"hosts: [heavy.example.org]\nresolution: {resolution}\n{ports}\nendpoints: [{HEAVY % addresses}]"
    return resource("ServiceEntry", "heavy", spec)


def test_weights_that_are_too_heavy_together_are_as_heavy_as_can_be(tmp_path):
    """Nobody had any cluster any more where a service's weights went over 32 bits."""
    name = "outbound|9080||heavy.example.org"
    by_dns = Compiled(tmp_path, SERVICE, heavy("DNS", "a.example", "b.example"))
    assert by_dns.cluster(NAME).name == NAME
    for group in (
        *by_dns.cluster(name).load_assignment.endpoints,
        *Compiled(tmp_path, heavy("STATIC", "10.0.0.1", "10.0.0.2")).localities(name),
    ):
        assert group.load_balancing_weight.value == 2**32 - 1
        assert [endpoint.load_balancing_weight.value for endpoint in group.lb_endpoints] == [2**32 - 1, 1]


def test_a_service_that_cannot_be_compiled_costs_the_others_nothing(tmp_path, monkeypatch, caplog):
    made = snapshot.outbound_clusters

    def failing(scope):
        if scope.service.hostname == HOST:
            raise ValueError("Value out of range")
        return made(scope)

    monkeypatch.setattr(snapshot, "outbound_clusters", failing)
    compiled = Compiled(tmp_path, SERVICE, heavy("STATIC", "10.0.0.1", "10.0.0.2"))
    compiled.snapshot.warm_up()
    clusters = [name for name in compiled.snapshot.clusters(compiled.view) if name.startswith("outbound")]
    assert clusters == ["outbound|9080||heavy.example.org"]
    assert f"{HOST}: no cluster could be made of it: it is left out" in caplog.text
