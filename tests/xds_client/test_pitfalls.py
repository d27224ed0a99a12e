"""The pitfalls that Dubbo's team wrote down about its PilotExchanger, each by name."""

from __future__ import annotations

import queue
import threading

import pytest

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, response, route, subset
from tests.xds_client.wire import sent
from xds_client import ResourceNotCachedError, ResourceType, Target, TargetConfig
from xds_client.resolve import Selection

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE
TARGET = Target("reviews", 9080)
V1 = subset("v1")


def selection(*names):
    return Selection(ENDPOINT, frozenset(names))


def reviews(address):
    return cluster(V1), endpoints(V1, address), route(REVIEWS_ROUTE, V1)


def test_an_empty_push_is_not_stored_and_does_not_make_the_client_ask_again_in_a_loop(wire):
    news = wire.observe(selection("a"))
    wire.open()
    wire.receive(response(ENDPOINT, endpoints("a", "10.0.0.1")))
    for nonce in ("n2", "n3", "n4"):
        [ack] = sent(wire.receive(response(ENDPOINT, nonce=nonce)))
        assert (ack.response_nonce, list(ack.resource_names_subscribe)) == (nonce, [])
    assert len(news) == 1
    assert wire.loop.status().known[ENDPOINT] == 1


def test_names_of_all_observers_go_in_one_request_so_two_subscribers_never_overwrite_each_other(wire):
    first, second = wire.observe(selection("a", "b")), wire.observe(selection("b", "c"))
    log = wire.reopen()
    [request] = [r for r in sent(log) if r.type_url == ENDPOINT.value]
    assert list(request.resource_names_subscribe) == ["a", "b", "c"]
    wire.receive(response(ENDPOINT, *(endpoints(n, f"10.0.0.{i}") for i, n in enumerate("abc"))))
    assert set(first[-1].found) == {"a", "b"}
    assert set(second[-1].found) == {"b", "c"}


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_waiting_get_is_local_to_its_caller_so_answers_in_either_order_reach_the_right_callers(
    start_server, open_exchanger, order
):
    server = start_server(removed_when_unknown=False)
    exchanger = open_exchanger(server.address)
    answers = {}
    callers = [
        threading.Thread(target=lambda n=n: answers.update({n: exchanger.get(ENDPOINT, n, timeout=20)})) for n in "ab"
    ]
    for caller in callers:
        caller.start()
    waiting = set()
    while waiting != {"a", "b"}:  # both callers wait before the first answer is sent
        waiting |= set(server.next_request(of=lambda r: r.type_url == ENDPOINT.value).resource_names_subscribe)
    for name in order:
        server.put(endpoints(name, f"10.0.0.{ord(name)}"))
    for caller in callers:
        caller.join(timeout=20)
    assert {n: v.name for n, v in answers.items()} == {"a": "a", "b": "b"}


def test_there_is_no_request_id_bookkeeping_to_overwrite(wire):
    """Answers carry names and nonces; three observers of one name share one subscription and all hear."""
    heard = [wire.observe(selection("a")) for _ in range(3)]
    log = wire.open()
    assert [list(r.resource_names_subscribe) for r in sent(log)] == [["*"], ["a"]]
    wire.receive(response(ENDPOINT, endpoints("a", "10.0.0.1")))
    assert [len(news) for news in heard] == [1, 1, 1]


def test_changes_are_pushed_only_on_the_stream_that_subscribed_so_there_is_exactly_one(wire):
    for host in ("reviews", "echo", "ratings"):
        wire.observe(Target(host, 9080))
    wire.observe(selection("a"))
    wire.open()
    wire.observe(selection("b"))
    assert len(wire.transport.streams) == 1


def test_each_response_is_split_per_subscriber_and_acked(wire):
    first, second, third = (wire.observe(selection(n)) for n in "abc")
    wire.open()
    log = wire.receive(response(ENDPOINT, endpoints("a", "10.0.0.1"), endpoints("b", "10.0.0.2"), nonce="n1"))
    assert (list(first[-1].found), list(second[-1].found), third) == (["a"], ["b"], [])
    [ack] = sent(log)
    assert (ack.response_nonce, ack.HasField("error_detail")) == ("n1", False)


def test_observers_may_be_added_removed_and_called_at_the_same_time_from_inside_a_callback_too(wire):
    heard = []

    def meddle(value):
        heard.append(value)
        handle.close()
        wire.observers.notify(selection("a"), value)  # called again from inside, though closed
        wire.observe(selection("b"), heard.append)

    handle = wire.observe(selection("a"), meddle)
    wire.open()
    wire.receive(response(ENDPOINT, endpoints("a", "10.0.0.1")))
    wire.receive(response(ENDPOINT, endpoints("b", "10.0.0.2")))
    assert [list(value.found) for value in heard] == [["a"], ["b"]]


def test_many_threads_observe_and_leave_while_pushes_come_without_deadlock(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.1"))
    exchanger = open_exchanger(server.address)

    def come_and_go():
        for _ in range(20):
            news = queue.SimpleQueue()
            with exchanger.observe_target(TARGET, news.put):
                assert isinstance(news.get(timeout=20), TargetConfig)

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for last in range(2, 40):
        server.put(endpoints(V1, f"10.0.0.{last}"))
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_get_from_inside_a_callback_returns_what_is_cached_or_raises_at_once(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.1"))
    exchanger = open_exchanger(server.address)
    outcome = queue.SimpleQueue()

    def inside(_):
        outcome.put(exchanger.get(CLUSTER, V1, timeout=1000))
        try:
            exchanger.get(ENDPOINT, "never asked", timeout=1000)
        except ResourceNotCachedError as error:
            outcome.put(error)

    exchanger.observe_target(TARGET, inside)
    assert outcome.get(timeout=10).name == V1
    assert "observe() it instead" in str(outcome.get(timeout=10))


def test_when_istiod_goes_away_nothing_raises_and_the_last_good_configuration_stays(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.1"))
    exchanger = open_exchanger(server.address)
    news = queue.Queue()
    exchanger.observe_target(TARGET, news.put)
    config = news.get(timeout=10)
    server.stop()
    late = queue.Queue()
    exchanger.observe_target(TARGET, late.put)
    assert late.get(timeout=10) == config
    assert exchanger.get(CLUSTER, V1, timeout=10).name == V1
    assert news.empty()


def test_reconnecting_resends_everything_observed_refreshes_the_caches_and_ends_its_own_schedule(wire):
    news = wire.observe(TARGET)
    wire.observe(selection("a"))
    wire.open()
    for message in (response(CLUSTER, cluster(V1), cluster("old")), response(ROUTE, route(REVIEWS_ROUTE, V1))):
        wire.receive(message)
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1"), endpoints("a", "10.0.0.9")))
    clusters, eds, rds = sent(wire.reopen())
    assert clusters.node.id == wire.loop.status().node_id
    assert set(clusters.initial_resource_versions) == {V1, "old"}
    assert set(eds.resource_names_subscribe) == set(eds.initial_resource_versions) == {V1, "a"}
    assert list(rds.resource_names_subscribe) == [REVIEWS_ROUTE]
    assert len(news) == 1, "nothing is torn down meanwhile"
    wire.receive(response(CLUSTER, cluster(V1), removed=["old"], nonce="m1"))
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.2"), endpoints("a", "10.0.0.9"), nonce="m2"))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1), nonce="m3"))
    assert news[-1].clusters[0].endpoints.localities[0].endpoints[0].address == "10.0.0.2"
    assert len(news) == 2
    status = wire.loop.status()
    assert (status.connection.retry_at, status.connection.last_error, status.known[CLUSTER]) == (None, "", 1)
    assert len(wire.transport.streams) == 2
