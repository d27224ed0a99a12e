"""Kubernetes' own Services, as kubectl writes them, are services of the mesh; what is not served is refused by name."""

from __future__ import annotations

import queue

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from localmesh import ConfigError, LocalMesh
from localmesh.compile import View
from localmesh.config import FolderReader, read_folder
from tests.localmesh.captures import CLASSES
from tests.localmesh.yaml_folder import DEMO, HOST, SERVICE, Compiled, resource, write
from xds_client import Bootstrap, PilotExchanger, Target

GRPC, PLAIN = f"outbound|9080||{HOST}", f"outbound|80||{HOST}"
KUBECTL = """
apiVersion: v1
kind: Service
metadata:
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}
  creationTimestamp: "2026-01-31T12:00:00Z"
  labels: {app: reviews}
  name: reviews
  namespace: demo
  resourceVersion: "7"
  uid: 6a1c
spec:
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7]
  internalTrafficPolicy: Cluster
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  ports:
  - {name: grpc, port: 9080, protocol: TCP, targetPort: 50051}
  - {name: web, port: 80, protocol: TCP, targetPort: http, appProtocol: http}
  selector: {app: reviews}
  sessionAffinity: None
  type: ClusterIP
status: {loadBalancer: {}}
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: reviews-x1, namespace: demo, labels: {kubernetes.io/service-name: reviews}}
endpoints:
- {addresses: [10.0.0.1], conditions: {ready: true, serving: true}, nodeName: n, targetRef: {kind: Pod, name: p}}
- {addresses: [10.0.0.2], conditions: {ready: false}}
- {addresses: [10.0.0.3]}
ports: [{name: grpc, port: 50051, protocol: TCP}, {name: web, port: 8080, protocol: TCP}]
"""
ENDPOINTS = """
apiVersion: v1
kind: Endpoints
metadata: {name: reviews, namespace: demo}
subsets:
- addresses: [{ip: 10.0.0.4, nodeName: n}]
  notReadyAddresses: [{ip: 10.0.0.5}]
  ports: [{name: grpc, port: 50051, protocol: TCP}]
"""
WORKLOADS = "\n---\n".join(
    resource("WorkloadEntry", f"w{number}", f"address: 127.0.0.{number}\nlabels: {{app: {app}}}\nserviceAccount: r")
    for number, app in ((1, "reviews"), (2, "other"))
)


def sockets(compiled, name):
    return [
        (endpoint.endpoint.address.socket_address.address, endpoint.endpoint.address.socket_address.port_value)
        for group in compiled.localities(name)
        for endpoint in group.lb_endpoints
    ]


def test_a_service_calls_the_endpoints_of_its_slices(tmp_path):
    compiled = Compiled(tmp_path, KUBECTL, SLICE, SLICE.replace("reviews-x1", "reviews-x2"), WORKLOADS)
    assert sockets(compiled, GRPC) == [("10.0.0.1", 50051), ("10.0.0.3", 50051)]
    assert sockets(compiled, PLAIN) == [("10.0.0.1", 8080), ("10.0.0.3", 8080)]
    (route,) = compiled.routes()
    assert route.route.cluster == GRPC


def test_endpoints_are_read_in_their_older_form_too(tmp_path):
    compiled = Compiled(tmp_path, KUBECTL, ENDPOINTS)
    assert sockets(compiled, GRPC) == [("10.0.0.4", 50051)]
    assert sockets(compiled, PLAIN) == [], "where nobody is ready, nobody is listed"


def test_without_endpoints_it_calls_the_workloads_that_it_selects(tmp_path):
    compiled = Compiled(tmp_path, KUBECTL, WORKLOADS)
    assert sockets(compiled, GRPC) == [("127.0.0.1", 50051)]
    assert sockets(compiled, PLAIN) == [], "a target port by name is one of the workload's, which has none"


def test_a_target_port_by_name_is_the_workloads_of_that_name(tmp_path):
    """Not its port of the Service port's name; one of the right name is not there without (`explicitName`)."""
    by_name = KUBECTL.replace("targetPort: 50051", "targetPort: main")
    with_ports = resource(
        "WorkloadEntry", "w", "address: 127.0.0.1\nports: {main: 8080, web: 1}\nlabels: {app: reviews}"
    )
    compiled = Compiled(tmp_path, by_name, with_ports)
    assert sockets(compiled, GRPC) == [("127.0.0.1", 8080)]
    assert sockets(compiled, PLAIN) == []
    by_number = Compiled(tmp_path, KUBECTL.replace("targetPort: http", "targetPort: 81"), with_ports)
    assert sockets(by_number, PLAIN) == [("127.0.0.1", 1)], "by number, the Service port's name goes first"


def test_a_headless_one_is_called_by_name_as_behind_a_sidecar(tmp_path):
    compiled = Compiled(tmp_path, KUBECTL.replace("clusterIP: 10.96.0.7", "clusterIP: None"), SLICE)
    assert compiled.cluster(GRPC).type == Cluster.ORIGINAL_DST
    assert [name for name in compiled.snapshot.clusters(DEMO) if "9080" in name] == [GRPC]


HEADLESS = KUBECTL.replace("clusterIP: 10.96.0.7", "clusterIP: None")


def port_table(compiled, view=DEMO):
    table = CLASSES["RDS"].FromString(compiled.snapshot.routes("9080", view).value)
    return {host.name: host for host in table.virtual_hosts}


def test_a_headless_ones_virtual_host_serves_its_pods_by_all_its_names(tmp_path):
    """As istiod's (generateVirtualHostDomains); another Service has no pods with names of their own."""
    compiled = Compiled(tmp_path, HEADLESS)
    names = [HOST, f"{HOST}.", "reviews", "reviews.demo.svc", "reviews.demo"]
    served = port_table(compiled)
    assert list(served[f"{HOST}:9080"].domains) == [*names, *(f"*.{name}" for name in names)]
    assert set(served) == {f"{HOST}:9080", "allow_any"}
    names = [HOST, f"{HOST}.", "reviews.demo", "reviews.demo.svc"]
    elsewhere = port_table(compiled, View("other"))[f"{HOST}:9080"]
    assert list(elsewhere.domains) == [*names, *(f"*.{name}" for name in names)]
    assert not any("*" in name for name in port_table(Compiled(tmp_path, KUBECTL))[f"{HOST}:9080"].domains)


def test_what_holds_for_a_headless_one_holds_for_its_pods(tmp_path):
    """One pod's calls had no DestinationRule and no VirtualService: they went in plaintext where mutual TLS is said."""
    told = queue.SimpleQueue()
    rule = resource("DestinationRule", "d", "host: reviews\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")
    routes = "hosts: [reviews]\nhttp: [{timeout: 3s, route: [{destination: {host: reviews}}]}]"
    folder = write(tmp_path, a=HEADLESS, b=rule, c=resource("VirtualService", "v", routes))
    with (
        LocalMesh(folder, watch=False) as mesh,
        PilotExchanger(Bootstrap.load(mesh.environment("demo"))) as member,
        member.observe_target(Target.parse("reviews-0.reviews:9080"), told.put),
    ):
        config = told.get(timeout=60)
    [joined] = config.clusters
    [endpoint] = joined.endpoints.localities[0].endpoints
    [route] = config.virtual_host.routes
    assert (endpoint.address, endpoint.port) == (f"reviews-0.{HOST}", 9080)
    assert joined.cluster.tls is not None
    assert route.action.timeout == 3


def test_no_document_says_that_it_is_headless(tmp_path):
    entry = "hosts: [a]\nheadless: true\nports: [{number: 1, name: a}]"
    with pytest.raises(ConfigError, match=r"spec\.headless: unknown field"):
        read_folder(write(tmp_path, a=resource("ServiceEntry", "s", entry)))


@pytest.mark.parametrize(
    ("port", "protocol"),
    [
        ("{name: grpc, port: 1}", "grpc"),
        ("{name: grpc-web-x, port: 1}", "grpc-web"),
        ("{name: http2-x, port: 1}", "http2"),
        ("{name: x, port: 1, appProtocol: kubernetes.io/h2c}", "http2"),
        ("{name: http, port: 1, appProtocol: grpc}", "grpc"),
        ("{port: 1}", ""),
        ("{port: 3306}", "tcp"),
        ("{name: grpc, port: 1, protocol: UDP}", "udp"),
        ("{name: udp, port: 1}", ""),
    ],
)
def test_a_ports_protocol_is_what_istiod_takes_it_for(tmp_path, port, protocol):
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {{ports: [{port}]}}\n"
    (entry,) = read_folder(write(tmp_path, a=text)).service_entries
    assert [one.protocol for one in entry.spec.ports] == [protocol]
    assert entry.spec.hosts == ("a.default.svc.cluster.local",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (KUBECTL.replace("type: ClusterIP", "type: ExternalName"), "spec.type: localmesh does not serve ExternalName"),
        (KUBECTL.replace("port: 9080", "port: 90800"), "spec.ports[0].port: 90800 is not a port"),
        (KUBECTL.replace("targetPort: 50051", "targetPort: 500510"), "targetPort: 500510 is not a port"),
        (KUBECTL.replace("protocol: TCP, targetPort: h", "protocol: X, targetPort: h"), "'X' is none of TCP, UDP"),
        (SLICE.replace("port: 8080", "port: 0"), "ports[1].port: 0 is not a port"),
        (KUBECTL + "---" + KUBECTL, "Service: demo/reviews is defined twice"),
        (KUBECTL.replace("apiVersion: v1", "apiVersion: v2"), "unknown apiVersion 'v2'"),
    ],
)
def test_what_is_not_served_is_refused_by_name(tmp_path, text, reason):
    with pytest.raises(ConfigError) as refused:
        read_folder(write(tmp_path, all=text))
    assert reason in str(refused.value)


@pytest.mark.parametrize("namespace", ["demo", "evil"])
@pytest.mark.parametrize("created", ["2020-01-31T12:00:00Z", "2030-01-31T12:00:00Z"])
def test_nobody_takes_the_host_of_a_service_by_a_service_entry_and_that_is_told(tmp_path, namespace, created):
    """Whoever is older, and whoever asks (`appendSidecarServices`)."""
    entry = SERVICE.replace("namespace: demo", f"namespace: {namespace}, creationTimestamp: '{created}'")
    compiled = Compiled(tmp_path, KUBECTL, SLICE, entry)
    for asking in ("demo", "evil", "other"):
        view = View(asking)
        found = {
            e.endpoint.address.socket_address.address for g in compiled.localities(GRPC, view) for e in g.lb_endpoints
        }
        assert found == {"10.0.0.1", "10.0.0.3"}
        assert f"outbound|9090||{HOST}" not in compiled.snapshot.clusters(view)
    [told] = compiled.snapshot.oddities()
    owner = "Service demo/reviews of Kubernetes has the host already, and holds"
    assert told == f"ServiceEntry {namespace}/reviews: hosts[0]: {owner}"


def test_a_service_entry_has_any_name_beside_a_service(tmp_path):
    """What was made of the Service was kept by a name that a ServiceEntry may have, too."""
    entry = resource("ServiceEntry", "reviews.svc", "hosts: [api.example.org]\nports: [{number: 443, name: tls}]")
    resources = read_folder(write(tmp_path, all=f"{KUBECTL}---\n{entry}"))
    assert {one.spec.hosts for one in resources.service_entries} == {(HOST,), ("api.example.org",)}


def test_they_can_be_ignored(tmp_path):
    resources = read_folder(write(tmp_path, all=KUBECTL + "---" + SLICE), frozenset({"Service", "EndpointSlice"}))
    assert resources.service_entries == ()
    assert {kind for _, kind in resources.ignored} == {"Service", "EndpointSlice"}


def test_a_service_stays_the_same_object_until_who_stands_behind_it_changes(tmp_path):
    reader = FolderReader(write(tmp_path, service=KUBECTL, behind=SLICE, other=""))
    (first,) = reader.read().service_entries
    write(tmp_path, other=resource("VirtualService", "r", "hosts: [x]\nhttp: [{route: [{destination: {host: x}}]}]"))
    (second,) = reader.read().service_entries
    write(tmp_path, behind=SLICE.replace("10.0.0.1", "10.0.0.9"))
    (third,) = reader.read().service_entries
    assert second is first
    assert [endpoint.address for endpoint in third.spec.endpoints] == ["10.0.0.9", "10.0.0.3"]


def test_a_member_finds_it(tmp_path):
    told = queue.SimpleQueue()
    with (
        LocalMesh(write(tmp_path, a=KUBECTL, b=SLICE), watch=False) as mesh,
        PilotExchanger(Bootstrap.load(mesh.environment("demo"))) as member,
        member.observe_target(Target.parse("reviews:9080"), told.put),
    ):
        assert "10.0.0.3" in str(told.get(timeout=60))
    assert mesh.warnings == ()
