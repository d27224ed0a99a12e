"""One delta stream by istiod's rules, without a network: requests and pushes in, responses out."""

from __future__ import annotations

from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localmesh import xds
from localmesh.ca.messages import CertificateRequest
from localmesh.compile import Locality, Snapshot, View
from localmesh.config import read_folder
from localmesh.serve.node import InvalidNode, parse_node
from localmesh.serve.reading import Unreadable, parsed
from localmesh.serve.session import CLUSTER, ENDPOINT, LISTENER, ROUTE, DeltaSession, Published
from tests.localmesh.yaml_folder import HOST, SERVICE, write

EDS_NAME = f"outbound|9080||{HOST}"
RDS_NAME = f"{HOST}:9080"
NODE = xds.core.Node(id="sidecar~127.0.0.9~pod-1.demo~demo.svc.cluster.local")


class Stream:
    """A session with a client that remembers the nonces it saw."""

    def __init__(self, folder, text=SERVICE):
        self.rejections = []
        nonces = (str(number) for number in count(1))
        self.published = Published(Snapshot(read_folder(write(folder, mesh="{}", all=text))), "v/1")
        self.session = DeltaSession(self.published, lambda: next(nonces), self.rejections.append)
        self.nonce = {}

    def send(self, type_url, *subscribe, unsubscribe=(), ack=False, nonce="", error=None, held=()):
        request = xds.discovery.DeltaDiscoveryRequest(
            node=NODE,
            type_url=type_url,
            resource_names_subscribe=list(subscribe),
            resource_names_unsubscribe=list(unsubscribe),
            response_nonce=self.nonce[type_url] if ack else nonce,
            initial_resource_versions=dict.fromkeys(held, ""),
        )
        if error is not None:
            request.error_detail.code, request.error_detail.message = 3, error
        return self.note(self.session.receive(request))

    def push(self, folder, text):
        snapshot = Snapshot(read_folder(write(folder, mesh="{}", all=text)))
        return self.note(self.session.push(Published(snapshot, "v/2")))

    def note(self, responses):
        self.nonce.update({response.type_url: response.nonce for response in responses})
        return responses


@pytest.fixture
def stream(tmp_path):
    return Stream(tmp_path / "mesh")


def summary(responses):
    return [(r.type_url, [resource.name for resource in r.resources], r.removed_resources) for r in responses]


def test_clusters_are_answered_whole_and_without_versions(stream):
    (response,) = stream.send(CLUSTER)
    assert {resource.name for resource in response.resources} >= {EDS_NAME, f"outbound|9090||{HOST}"}
    assert {resource.version for resource in response.resources} == {""}
    assert response.system_version_info == "v/1"
    assert response.removed_resources == []


def test_a_later_subscription_is_answered_alone(stream):
    stream.send(ROUTE, RDS_NAME)
    stream.send(ROUTE, ack=True)
    assert summary(stream.send(ROUTE, "other:1")) == [(ROUTE, ["other:1"], [])]
    assert stream.send(ROUTE, "other:1") == [], "nothing new"


@pytest.mark.parametrize(("type_url", "name", "make"), [(ENDPOINT, EDS_NAME, "endpoints"), (ROUTE, RDS_NAME, "routes")])
def test_what_cannot_be_compiled_is_left_out_and_the_others_are_answered(
    stream, monkeypatch, caplog, type_url, name, make
):
    made = getattr(Snapshot, make)

    def failing(snapshot, asked, view):
        if asked == name:
            raise ValueError("Value out of range")
        return made(snapshot, asked, view)

    monkeypatch.setattr(Snapshot, make, failing)
    assert summary(stream.send(type_url, name, "outbound|1||other:1")) == [(type_url, ["outbound|1||other:1"], [])]
    assert f"{name}: no answer could be made, clients keep what they have" in caplog.text


def test_acks_stale_nonces_and_unknown_types_are_silent(stream):
    stream.send(ENDPOINT, EDS_NAME)
    assert stream.send(ENDPOINT, ack=True) == []
    assert stream.send(ENDPOINT, "more", nonce="stale") == []
    assert summary(stream.session.push(stream.published)) == [(ENDPOINT, [EDS_NAME], [])], "the stale one added nothing"
    assert stream.send("type.googleapis.com/unknown", "x") == []


def test_a_nack_is_recorded_and_its_names_are_dropped(stream):
    stream.send(ROUTE, RDS_NAME)
    nonce = stream.nonce[ROUTE]
    assert stream.send(ROUTE, "dropped:1", ack=True, error="bad regex") == []
    (rejection,) = stream.rejections
    assert (rejection.node, rejection.type_url, rejection.nonce, rejection.reason) == (
        NODE.id,
        ROUTE,
        nonce,
        "bad regex",
    )
    again = stream.session.push(stream.published)
    assert summary(again) == [(ROUTE, [RDS_NAME], [])]


def test_unsubscribed_names_are_not_pushed_any_more(stream):
    stream.send(ENDPOINT, EDS_NAME, "gone")
    assert stream.send(ENDPOINT, unsubscribe=["gone"]) == []
    assert summary(stream.session.push(stream.published)) == [(ENDPOINT, [EDS_NAME], [])]


def test_a_push_sends_everything_watched_again_in_order(stream, tmp_path):
    for type_url, names in ((ROUTE, [RDS_NAME]), (LISTENER, []), (ENDPOINT, [EDS_NAME]), (CLUSTER, [])):
        stream.send(type_url, *names)
    pushed = stream.push(tmp_path / "next", SERVICE)
    assert [response.type_url for response in pushed] == [CLUSTER, ENDPOINT, LISTENER, ROUTE]
    assert {response.system_version_info for response in pushed} == {"v/2"}
    assert len({response.nonce for response in pushed}) == 4


def test_clusters_that_are_gone_are_removed_and_endpoints_and_routes_become_empty(stream, tmp_path):
    stream.send(CLUSTER)
    stream.send(ENDPOINT, EDS_NAME)
    stream.send(ROUTE, RDS_NAME)
    clusters, endpoints, routes = stream.push(tmp_path / "next", "---\n")
    assert clusters.removed_resources == [EDS_NAME, f"outbound|9090||{HOST}"]
    assert endpoints.removed_resources == routes.removed_resources == []
    assert not xds.endpoint.ClusterLoadAssignment.FromString(endpoints.resources[0].resource.value).endpoints
    assert not xds.route.RouteConfiguration.FromString(routes.resources[0].resource.value).virtual_hosts


def test_after_a_reconnect_what_was_held_and_is_gone_is_removed(stream):
    (response,) = stream.send(CLUSTER, held=[EDS_NAME, "outbound|1||old"])
    assert response.removed_resources == ["outbound|1||old"]
    (response,) = stream.send(ROUTE, held=[RDS_NAME])
    assert summary([response]) == [(ROUTE, [RDS_NAME], [])]


def test_a_cluster_request_is_followed_by_the_watched_endpoints(stream):
    stream.send(ENDPOINT, EDS_NAME)
    assert [response.type_url for response in stream.send(CLUSTER)] == [CLUSTER, ENDPOINT]


def test_listeners_are_answered_with_the_nodes_own_ports_alone(stream):
    assert summary(stream.send(LISTENER)) == [(LISTENER, ["virtualInbound"], [])]
    assert summary(stream.send(LISTENER, ack=True)) == []
    assert summary(stream.send(LISTENER, held=["virtualOutbound"])) == [
        (LISTENER, ["virtualInbound"], ["virtualOutbound"])
    ]


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (None, "missing node information"),
        (xds.core.Node(), "missing node information"),
        (xds.core.Node(id="me"), "missing parts in the service node 'me'"),
        (xds.core.Node(id="router~1.2.3.4~a.b~b.svc.x"), "localmesh serves sidecars only"),
        (xds.core.Node(id="sidecar~nowhere~a.b~b.svc.x"), "no valid IP address"),
        (
            xds.core.Node(id=NODE.id, metadata=xds.struct({"GENERATOR": "grpc"})),
            "localmesh serves sidecar resources only",
        ),
    ],
)
def test_a_node_that_istiod_would_refuse_is_refused(node, reason):
    with pytest.raises(InvalidNode, match=reason):
        parse_node(node)


def test_the_view_of_a_node_comes_from_its_metadata_and_locality():
    labels = {"app": "a", "version": "1"}
    metadata = xds.struct({"NAMESPACE": "other", "INSTANCE_IPS": "::1", "LABELS": labels})
    node = xds.core.Node(
        id="sidecar~::2~a.b~b.svc.x", metadata=metadata, locality=xds.core.Locality(region="eu", zone="a")
    )
    expected = View("other", Locality("eu", "a"), (("app", "a"), ("version", "1")), ("::1", "::2"))
    assert parse_node(node).view == expected


def test_locality_labels_win_over_the_nodes_locality():
    metadata = xds.struct({"LABELS": {"istio-locality": "us.b.c"}})
    node = xds.core.Node(id=NODE.id, metadata=metadata, locality=xds.core.Locality(region="eu"))
    assert parse_node(node).view.locality == Locality("us", "b", "c")


wire = st.lists(
    st.one_of(
        st.binary(max_size=20),
        # a key of any field and wire type, and something after it
        st.builds(
            lambda number, kind, rest: bytes([number << 3 | kind]) + rest,
            st.integers(0, 15),
            st.integers(0, 5),
            st.binary(max_size=8),
        ),
    ),
    max_size=8,
).map(b"".join)


@given(garbage=wire)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_garbage_is_refused_or_ignored_and_nothing_else_is_raised(stream, garbage):
    session = DeltaSession(stream.published, lambda: "n", stream.rejections.append)
    with suppress(Unreadable, InvalidNode):
        session.receive(parsed(xds.discovery.DeltaDiscoveryRequest, garbage))
    known = xds.discovery.DeltaDiscoveryRequest(node=NODE, type_url=ROUTE).SerializeToString()
    with suppress(Unreadable, InvalidNode):
        session.receive(parsed(xds.discovery.DeltaDiscoveryRequest, known + garbage))
    with suppress(Unreadable):
        parsed(CertificateRequest, garbage).csr.encode()


def test_a_repeated_subscription_to_everything_is_answered_again(stream):
    everything = summary(stream.send(LISTENER, "*"))
    assert stream.send(LISTENER, unsubscribe=["*"]) == []
    assert summary(stream.send(LISTENER, "*")) == everything
    assert summary(stream.send(LISTENER, "*")) == everything, "istiod never remembers the star"
