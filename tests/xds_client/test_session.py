"""The delta session, rule by rule (the rules are the theory at the top of session/delta.py)."""

from __future__ import annotations

import pytest

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, response, route, subset, with_garbage
from xds_client.errors import ProtocolError
from xds_client.resource_type import WILDCARD, ResourceType
from xds_client.session import PATIENCE, DeltaSession

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE
ALL = frozenset({WILDCARD})


@pytest.fixture
def session(node):
    return DeltaSession(node)


def receive(session, answer, now=0.0):
    return session.receive(answer.SerializeToString(), now)


def test_node_goes_into_the_first_request_of_a_stream_only(session, node):
    session.want({CLUSTER: ALL, ROUTE: frozenset({"a:1"})}, 0.0)
    for _ in range(2):
        first, second = session.open()
        assert (first.kind, second.kind) == (CLUSTER, ROUTE)
        assert first.node == node
        assert second.node is None
        session.close()


def test_nothing_is_asked_before_something_is_wanted(session):
    assert session.open() == []
    [only] = session.want({ENDPOINT: frozenset({"e"})}, 0.0)
    assert only.subscribe == ("e",)


def test_a_change_is_a_request_of_its_own_with_an_empty_nonce(session):
    session.want({ROUTE: frozenset({"a:1", "b:1"})}, 0.0)
    session.open()
    receive(session, response(ROUTE, route("a:1"), nonce="n1"))
    [change] = session.want({ROUTE: frozenset({"b:1", "c:1"})}, 0.0)
    assert (change.subscribe, change.unsubscribe, change.nonce) == (("c:1",), ("a:1",), "")
    assert session.want({ROUTE: frozenset({"b:1", "c:1"})}, 0.0) == []


def test_ack_has_the_nonce_and_no_names(session):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    update = receive(session, response(CLUSTER, cluster("x"), nonce="n7", version="v7"))
    assert (update.version, update.whole) == ("v7", True)
    ack = session.reply(update)
    assert (ack.nonce, ack.error, ack.subscribe, ack.unsubscribe) == ("n7", "", (), ())


def test_malformed_resource_is_nacked_by_name_and_the_others_are_accepted(session):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    update = receive(session, with_garbage(response(CLUSTER, cluster("good")), "bad"))
    assert list(update.accepted) == ["good"]
    nack = session.reply(update)
    assert nack.nonce == "n1"
    assert "Cluster 'bad'" in nack.error
    assert "protobuf" in nack.error
    assert nack.subscribe == ()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda r: setattr(r, "name", "other"), "says 'x'"),
        (lambda r: setattr(r.resource, "type_url", "type.googleapis.com/some.Thing"), "packed as"),
        (lambda r: setattr(r.resource, "value", b""), "name: is empty"),
    ],
)
def test_what_is_wrong_with_a_resource_is_said(session, spoil, reason):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    answer = response(CLUSTER, cluster("x"))
    spoil(answer.resources[0])
    update = receive(session, answer)
    assert update.accepted == {}
    assert reason in session.reply(update).error


def test_a_name_twice_in_one_response_is_rejected(session):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    update = receive(session, response(CLUSTER, cluster("x"), cluster("y"), cluster("x")))
    assert list(update.accepted) == ["y"]
    assert "twice" in session.reply(update).error


def test_held_names_go_into_the_first_request_of_a_new_stream_although_versions_are_empty(session):
    session.want({CLUSTER: ALL, ENDPOINT: frozenset({"e", "f"})}, 0.0)
    session.open()
    receive(session, response(CLUSTER, cluster("x"), cluster("y")))
    receive(session, response(ENDPOINT, endpoints("e")))
    receive(session, response(CLUSTER, removed=["y"]))
    session.close()
    clusters, eds = session.open()
    assert clusters.subscribe == ("*",)
    assert clusters.initial_versions == (("x", ""),)
    assert eds.subscribe == ("e", "f")
    assert eds.initial_versions == (("e", ""),)


def test_a_name_no_longer_wanted_is_not_held(session):
    session.want({ENDPOINT: frozenset({"e", "f"})}, 0.0)
    session.open()
    receive(session, response(ENDPOINT, endpoints("e"), endpoints("f")))
    session.close()
    session.want({ENDPOINT: frozenset({"f"})}, 0.0)
    [first] = session.open()
    assert first.initial_versions == (("f", ""),)


def test_unknown_type_is_neither_acked_nor_nacked_and_warned_of_once(session, caplog):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    answer = response(ResourceType.LISTENER)
    for type_url in ("type.googleapis.com/istio.Strange", ResourceType.LISTENER.value):
        answer.type_url = type_url
        assert receive(session, answer) is None
        assert receive(session, answer) is None
        assert len([r for r in caplog.records if type_url in r.getMessage()]) == 1


def test_unrequested_resources_are_ignored(session):
    session.want({ENDPOINT: frozenset({"e"})}, 0.0)
    session.open()
    update = receive(session, with_garbage(response(ENDPOINT, endpoints("e"), endpoints("z"), removed=["q"]), "w"))
    assert list(update.accepted) == ["e"]
    assert update.rejected == ()
    assert update.removed == {}


def test_bytes_that_are_no_response_are_a_protocol_error(session):
    session.open()
    with pytest.raises(ProtocolError, match="no DeltaDiscoveryResponse"):
        session.receive(b"\x0a\xff", 0.0)


def test_an_unanswered_name_is_missing_after_fifteen_seconds_on_the_wire(session):
    session.want({ROUTE: frozenset({"a:1", "b:1"})}, 0.0)
    session.open()
    assert session.next_expiry() is None
    session.on_wire(1000.0)  # connecting took long; only now the request has left
    assert session.next_expiry() == 1000.0 + PATIENCE
    receive(session, response(ROUTE, route("a:1")), 1001.0)
    session.want({ROUTE: frozenset({"a:1", "b:1", "c:1"})}, 1005.0)
    assert session.expire(1014.9) == []
    [update] = session.expire(1015.0)
    assert list(update.removed) == ["b:1"]
    assert "15 s" in update.removed["b:1"]
    assert update.nonce == ""
    assert session.next_expiry() == 1020.0


def test_timers_stop_with_the_stream_and_start_again_only_for_names_not_held(session):
    session.want({ROUTE: frozenset({"a:1", "b:1"})}, 0.0)
    session.open()
    receive(session, response(ROUTE, route("a:1")))
    session.close()
    assert session.next_expiry() is None
    assert session.expire(99.0) == []
    session.open()
    session.on_wire(100.0)
    assert session.next_expiry() == 115.0
    [update] = session.expire(115.0)
    assert list(update.removed) == ["b:1"]


def test_a_late_failure_is_sent_with_the_newest_nonce_of_the_type(session):
    session.want({CLUSTER: ALL}, 0.0)
    session.open()
    answer = with_garbage(response(CLUSTER, nonce="n3"), subset("v1"))
    late = receive(session, answer).rejected
    assert session.complain(ROUTE, late) is None
    assert session.complain(CLUSTER, late).nonce == "n3"
    receive(session, response(CLUSTER, nonce="n4"))
    assert session.complain(CLUSTER, late).nonce == "n4"
    session.close()
    assert session.complain(CLUSTER, late) is None


def test_a_heartbeat_changes_nothing(session):
    session.want({ROUTE: frozenset({REVIEWS_ROUTE})}, 0.0)
    session.open()
    answer = response(ROUTE)
    answer.resources.add(name=REVIEWS_ROUTE)
    update = receive(session, answer)
    assert (update.accepted, update.rejected, update.removed) == ({}, (), {})
