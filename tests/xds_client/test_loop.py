"""The way of the data on the exchanger's thread, event by event, over a fake wire and a fake clock."""

from __future__ import annotations

import logging
import threading

import pytest

from tests.xds_client.mesh import (
    REVIEWS,
    REVIEWS_ROUTE,
    broken_cluster,
    cluster,
    endpoints,
    response,
    route,
    subset,
    with_garbage,
)
from tests.xds_client.wire import FakeTransport, Wire, sent
from xds_client import Phase, Target, TargetConfig, TargetMissing
from xds_client.resolve import Selection, resolve
from xds_client.resource_type import ResourceType

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE
TARGET = Target("reviews", 9080)
V1, V2 = subset("v1"), subset("v2")


def serve_reviews(wire, address="10.0.0.1"):
    """Answer everything that target reviews needs."""
    wire.receive(response(CLUSTER, cluster(V1), cluster(V2)))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1)))
    return wire.receive(response(ENDPOINT, endpoints(V1, address)))


def names(request):
    return request.type_url.rpartition(".")[2], list(request.resource_names_subscribe)


def test_the_first_requests_name_everything_wanted_and_clusters_by_wildcard(wire):
    wire.observe(TARGET)
    wire.observe(Target("echo", 7070))
    assert [names(r) for r in sent(wire.reopen())] == [
        ("Cluster", ["*"]),
        ("RouteConfiguration", ["echo.demo.svc.cluster.local:7070", REVIEWS_ROUTE]),
    ]


def test_subscriptions_follow_what_the_resolutions_read(wire):
    news = wire.observe(TARGET)
    wire.open()
    wire.receive(response(CLUSTER, cluster(V1), cluster(V2)))
    log = wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1)))
    assert names(sent(log)[0]) == ("ClusterLoadAssignment", [V1])
    log = wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1")))
    assert len(news) == 1
    log = wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V2)))
    [change, _ack] = sent(log)
    assert (list(change.resource_names_subscribe), list(change.resource_names_unsubscribe)) == ([V2], [V1])


def test_observers_hear_before_the_ack_and_the_next_message_is_read_after_it(wire):
    wire.observe(TARGET, lambda value: wire.log.append(("news", value)))
    wire.open()
    log = serve_reviews(wire)
    assert [entry[0] for entry in log] == ["news", "send", "read"]
    assert log[1][1].response_nonce == "n1"


def test_while_something_is_missing_the_last_good_configuration_stays(wire):
    news = wire.observe(TARGET)
    wire.open()
    serve_reviews(wire)
    [config] = news
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1, V2)))
    assert news == [config], "endpoints of v2 are not here yet"
    wire.receive(response(ENDPOINT, endpoints(V2, "10.0.0.2")))
    assert [c.name for c in news[-1].clusters] == [V1, V2]
    assert len(news) == 2


def test_the_same_content_under_a_new_version_is_no_news(wire):
    news = wire.observe(TARGET)
    wire.open()
    serve_reviews(wire)
    log = wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1"), nonce="n9", version="v9"))
    assert len(news) == 1
    [ack] = sent(log)
    assert ack.response_nonce == "n9"


def test_a_host_that_appears_after_both_its_names_were_asked_in_vain(wire):
    """istiod then fills one table and leaves the other empty; the name that was meant is asked once more, alone."""
    news = wire.observe(Target("reviews.demo", 9080))
    literal = "reviews.demo:9080"
    wire.open()
    wire.receive(response(CLUSTER, cluster(V1)))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE)))
    wire.receive(response(ROUTE, route(literal)))
    wire.receive(response(ROUTE, route("9080")))
    assert isinstance(news[-1], TargetMissing)
    robber = route(literal, V1)
    robber.virtual_hosts[0].name = REVIEWS_ROUTE
    log = wire.receive(response(ROUTE, route(REVIEWS_ROUTE), robber))
    changes = [(list(r.resource_names_unsubscribe), list(r.resource_names_subscribe)) for r in sent(log)]
    assert changes == [(["9080", literal], []), ([REVIEWS_ROUTE], []), ([], [REVIEWS_ROUTE]), ([], [])]
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1)))
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1")))
    assert news[-1].host == REVIEWS
    assert len(news) == 2


def test_a_deleted_host_is_announced(wire):
    news = wire.observe(TARGET)
    wire.open()
    serve_reviews(wire)
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE)))
    assert len(news) == 1, "it may be in the table of the whole port"
    wire.receive(response(ROUTE, route("9080")))
    assert isinstance(news[-1], TargetMissing)
    assert REVIEWS in news[-1].reason


def test_a_malformed_resource_is_nacked_the_others_applied_and_the_last_good_stays(wire, caplog):
    news = wire.observe(TARGET)
    other = wire.observe(Selection(ENDPOINT, frozenset({V2})))
    wire.open()
    serve_reviews(wire)
    log = wire.receive(with_garbage(response(ENDPOINT, endpoints(V2, "10.0.0.2"), nonce="n5"), V1))
    [nack] = sent(log)
    assert nack.response_nonce == "n5"
    assert f"ClusterLoadAssignment {V1!r}" in nack.error_detail.message
    assert list(nack.resource_names_subscribe) == []
    assert len(news) == 1
    assert other[-1].found[V2].localities[0].endpoints[0].address == "10.0.0.2"
    [rejected] = wire.loop.status().rejected
    assert rejected.name == V1
    assert "the last good one stays" in caplog.text
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.3"), nonce="n6"))
    assert wire.loop.status().rejected == ()
    assert len(news) == 2


def test_what_makes_no_sense_is_nacked_with_the_response_when_it_is_wanted_already(wire):
    news = wire.observe(TARGET)
    wire.open()
    serve_reviews(wire)
    for nonce in ("n5", "n6"):
        log = wire.receive(response(CLUSTER, broken_cluster(V1), cluster(V2), nonce=nonce))
        [nack] = sent(log)
        assert nack.response_nonce == nonce
        assert "lb_policy: 99" in nack.error_detail.message
    assert len(news) == 1, "the last good one stays"
    assert [e.name for e in wire.loop.status().rejected] == [V1]


def test_what_makes_no_sense_is_nacked_later_when_it_is_wanted_only_later(wire):
    wire.open()
    log = wire.receive(response(CLUSTER, broken_cluster(V1), nonce="c1"))
    assert sent(log)[0].error_detail.message == "", "nobody wants it: parsed, not built"
    news = wire.observe(TARGET)
    log = wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1), nonce="r1"))
    ack, nack = sent(log)
    assert (ack.response_nonce, ack.error_detail.message) == ("r1", "")
    assert nack.response_nonce == "c1", "the newest nonce of the type"
    assert "lb_policy: 99" in nack.error_detail.message
    [config] = news
    assert "lb_policy: 99" in config.clusters[0].error
    log = wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1), nonce="r2"))
    assert len(sent(log)) == 1, "complained of once"


def test_an_unanswered_name_is_missing_after_fifteen_seconds_and_not_while_connecting(wire):
    news = wire.observe(TARGET)
    wire.pass_time(60)
    assert news == [], "nobody could be asked"
    wire.open()
    wire.pass_time(14.9)
    assert news == []
    wire.pass_time(0.2)
    assert "did not answer for 15 s" in news[-1].reason
    wire.receive(response(CLUSTER, cluster(V1)))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1)))
    wire.receive(response(ENDPOINT, endpoints(V1)))
    assert isinstance(news[-1], TargetConfig), "late is better than never"


def test_reconnecting_backs_off_until_a_message_comes(wire):
    delays = []
    for _ in range(4):
        wire.lose()
        delays.append(round(wire.loop.wait(), 3))
        assert wire.loop.status().connection.phase is Phase.WAITING
        wire.pass_time(delays[-1])
        assert wire.loop.status().connection.phase is Phase.CONNECTING
    assert delays == [0.5, 0.8, 1.28, 2.048]
    wire.open()
    assert wire.loop.status().connected is False, "a port that accepts is no control plane yet"
    wire.receive(response(CLUSTER))
    assert wire.loop.status().connected is True
    wire.lose()
    assert wire.loop.wait() == pytest.approx(0.5)


def test_an_hour_without_control_plane_is_a_few_warnings(wire, caplog):
    caplog.set_level(logging.WARNING)
    for _ in range(400):
        wire.lose("UNAVAILABLE: connection refused")
        wire.pass_time(10)
    assert len(caplog.records) == 9  # 1, 2, 4, ... 256
    first = caplog.records[0].getMessage()
    for part in ("istiod.test:15010", "sidecar~10.0.0.1~shop.demo", "connection refused", "attempt 2 in 0.5 s"):
        assert part in first


def test_events_of_an_older_stream_are_history(wire):
    old = wire.stream
    wire.lose()
    wire.pass_time(1)
    before = wire.loop.status()
    old.events.received(response(CLUSTER, cluster(V1)).SerializeToString())
    old.events.opened()
    old.events.closed("again")
    assert wire.run() == []
    assert wire.loop.status() == before


def test_bytes_that_are_no_response_end_the_stream_and_another_follows(wire):
    wire.open()
    wire.stream.events.received(b"\x0a\xff")
    assert ("close",) in wire.run()
    assert "no DeltaDiscoveryResponse" in wire.loop.status().connection.last_error
    wire.pass_time(1)
    assert len(wire.transport.streams) == 2


def test_a_closed_observation_ends_its_subscriptions_and_forgets_what_would_go_stale(wire):
    handle = wire.observe(TARGET, lambda value: None)
    wire.open()
    serve_reviews(wire)
    handle.close()
    log = wire.run()
    assert {(names(r)[0], tuple(r.resource_names_unsubscribe)) for r in sent(log)} == {
        ("ClusterLoadAssignment", (V1,)),
        ("RouteConfiguration", (REVIEWS_ROUTE,)),
    }
    status = wire.loop.status()
    assert (status.known[ENDPOINT], status.known[ROUTE], status.known[CLUSTER]) == (0, 0, 2)


def test_the_loop_is_confined_to_one_thread(wire):
    raised = []

    def trespass():
        try:
            wire.loop.tick()
        except AssertionError as error:
            raised.append(str(error))

    thread = threading.Thread(target=trespass)
    thread.start()
    thread.join()
    assert raised == ["the loop is confined to the exchanger's thread"]


def test_a_thousand_targets_of_one_turn_are_one_change_of_the_subscriptions(wire, monkeypatch):
    resolved = []
    monkeypatch.setattr(
        "xds_client.loop.resolve", lambda target, *rest: resolved.append(target) or resolve(target, *rest)
    )
    wire.open()
    wire.receive(response(CLUSTER, cluster(V1)))
    mark = len(wire.log)
    targets = [Target(f"t{i}", 9080) for i in range(1000)]
    wire.observe_all(targets)
    assert sorted(resolved, key=str) == sorted(targets, key=str), "each once"
    [request] = sent(wire.log[mark:])
    assert len(request.resource_names_subscribe) == 1000
    resolved.clear()
    tables = [route(f"t{i}.demo.svc.cluster.local:9080", V1) for i in range(1000)]
    wire.receive(response(ROUTE, *tables))
    assert len(resolved) == 1000
    resolved.clear()
    wire.receive(response(CLUSTER, cluster("another")))
    assert resolved == [], "nobody read it"


def test_a_connection_that_cannot_even_be_begun_is_a_failed_attempt(wire, monkeypatch):
    def none_left(*_):
        raise OSError(24, "Too many open files")

    wire.open()
    wire.lose()
    with monkeypatch.context() as patch:
        patch.setattr(wire.transport, "connect", none_left)
        wire.pass_time(wire.loop.wait())
        status = wire.loop.status()
        assert status.connection.phase is Phase.WAITING
        assert "Too many open files" in status.connection.last_error
        assert status.retry_in == pytest.approx(0.8), "as after any failed attempt"
    wire.pass_time(0.9)
    assert len(wire.transport.streams) == 2
    assert [r.type_url for r in sent(wire.open())] == [ResourceType.CLUSTER.value], "the stream is asked as ever"


def test_the_first_connection_may_be_one_that_cannot_be_begun(node):
    class Transport(FakeTransport):
        def connect(self, method, events):
            self.connect = super().connect
            raise RuntimeError("can't start new thread")

    wire = Wire(node, Transport)
    assert wire.loop.status().retry_in == pytest.approx(0.5)
    wire.pass_time(0.6)
    assert len(wire.transport.streams) == 1


def test_attempts_are_counted_anew_after_one_that_was_answered(wire, caplog):
    caplog.set_level(logging.WARNING)
    wire.lose()
    assert "attempt 2 in" in caplog.text
    wire.pass_time(wire.loop.wait())
    wire.open()
    serve_reviews(wire)
    caplog.clear()
    wire.lose()
    assert "attempt 1 in" in caplog.text
    assert (wire.loop.status().connection.attempts, wire.loop.status().connection.streams) == (0, 2)
