"""Large responses are decoded beside the exchanger's thread: what says who may come in does not wait behind them."""

from __future__ import annotations

import gc
import ipaddress
import threading

import pytest

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, inbound, response, route, subset, with_garbage
from tests.xds_client.wire import sent
from xds_client import ResourceType, Target
from xds_client.codec import Resources
from xds_client.resolve import Inbound

CLUSTER, ENDPOINT, LISTENER, ROUTE = (
    ResourceType.CLUSTER,
    ResourceType.ENDPOINT,
    ResourceType.LISTENER,
    ResourceType.ROUTE,
)
V1 = subset("v1")
TARGET = Target("reviews", 9080)


def many(count=8000, first=0x0A000001):
    return endpoints(V1, *(str(ipaddress.ip_address(first + i)) for i in range(count)))


def served(wire, log):
    """A target and a server's listener, observed and answered; what happens to them goes into the log, too."""
    wire.observe(TARGET, lambda config: log.append(("target", addresses(config))))
    wire.observe(Inbound(), lambda listener: log.append(("inbound", len(listener.filter_chains))))
    wire.open()
    wire.receive(response(LISTENER, inbound(1)))
    wire.receive(response(CLUSTER, cluster(V1)))
    wire.receive(response(ROUTE, route(REVIEWS_ROUTE, V1)))
    wire.receive(response(ENDPOINT, endpoints(V1, "10.9.9.9")))
    log.clear()


def addresses(config):
    [only] = config.clusters[0].endpoints.localities
    return len(only.endpoints)


def arrive(wire, *answers):
    """All of them, before the first is dealt with."""
    for answer in answers:
        wire.stream.events.received(answer.SerializeToString())
    return wire.run()


def test_a_listener_overtakes_many_endpoints(wire):
    served(wire, wire.log)
    log = arrive(wire, response(ENDPOINT, many(), nonce="e"), response(LISTENER, inbound(1, 2), nonce="l"))
    news = [entry for entry in log if entry[0] in ("target", "inbound")]
    assert news == [("inbound", 2), ("target", 8000)]
    assert [request.response_nonce for request in sent(log)] == ["l", "e"], "each is acknowledged when it is applied"


def test_what_comes_of_one_type_stays_in_order(wire):
    served(wire, wire.log)
    log = arrive(wire, response(ENDPOINT, many(), nonce="1"), response(ENDPOINT, endpoints(V1, "10.0.0.7"), nonce="2"))
    assert [entry[1] for entry in log if entry[0] == "target"] == [8000, 1]
    assert [request.response_nonce for request in sent(log)] == ["1", "2"]


def test_the_stream_is_read_on_only_so_far_ahead(wire, monkeypatch):
    served(wire, wire.log)
    large = [response(ENDPOINT, many(first=0x0A000001 + i), nonce=str(i)) for i in range(4)]
    monkeypatch.setattr("xds_client.bulk._MOST", 3 * large[0].ByteSize() - 1)
    for answer in large[:3]:
        wire.stream.events.received(answer.SerializeToString())
    jobs = list(wire.inbox)
    wire.inbox.clear()
    mark = len(wire.log)
    for job in jobs:
        job()
    assert wire.log[mark:].count(("read",)) == 2, "the third is the last that waits"
    log = wire.run()
    assert log.count(("read",)) == 1, "read on once there is room"
    assert [entry[1] for entry in log if entry[0] == "target"] == [8000, 8000, 8000]


def test_a_malformed_one_among_many_is_refused_by_name_and_the_last_good_one_stays(wire):
    served(wire, wire.log)
    bad = many()
    bad.endpoints[0].lb_endpoints[4711].endpoint.address.socket_address.port_value = 70000
    [nack] = sent(arrive(wire, response(ENDPOINT, bad, nonce="e")))
    assert "lb_endpoints[4711]" in nack.error_detail.message
    [nack] = sent(arrive(wire, with_garbage(response(ENDPOINT, many(), nonce="e2"), V1)))
    assert "appears twice" in nack.error_detail.message
    assert not [entry for entry in wire.log if entry[0] == "target"]


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "in place"])
def test_what_was_refused_is_let_go_of_at_once(wire, monkeypatch, beside):
    """Not when the garbage collector comes: few objects can be gigabytes."""
    served(wire, wire.log)
    monkeypatch.setattr("xds_client.decode.parsed.LARGEST_RESOURCE", 1000)
    bad = response(ENDPOINT, many(8000 if beside else 100), nonce="e")
    gc.collect()
    gc.disable()
    try:
        [nack] = sent(arrive(wire, bad))
        assert "more than 1000" in nack.error_detail.message
        assert not [each for each in gc.get_objects() if isinstance(each, Resources)]
    finally:
        gc.enable()


def test_one_of_a_stream_that_is_gone_is_asked_for_again(wire):
    served(wire, wire.log)
    wire.stream.events.received(response(ENDPOINT, many(), nonce="e").SerializeToString())
    wire.lose()
    assert not [entry for entry in wire.log if entry[0] == "target"]
    log = wire.reopen()
    assert [list(r.resource_names_subscribe) for r in sent(log) if r.type_url == ENDPOINT.value] == [[V1]]
    log = wire.receive(response(ENDPOINT, many(), nonce="again"))
    assert [entry[1] for entry in log if entry[0] == "target"] == [8000]


def test_a_listener_behind_many_large_responses_is_read(wire):
    served(wire, wire.log)
    large = [response(ENDPOINT, many(first=0x0A000001 + i), nonce=str(i)) for i in range(8)]
    log = arrive(wire, *large, response(LISTENER, inbound(1, 2), nonce="l"))
    news = [entry for entry in log if entry[0] in ("target", "inbound")]
    assert news[0] == ("inbound", 2)
    assert log.count(("read",)) == 9, "the stream was read on after each, so that the listener came at all"


def test_clusters_do_not_wait_behind_all_endpoints_nor_endpoints_behind_all_clusters(wire, monkeypatch):
    served(wire, wire.log)
    monkeypatch.setattr("xds_client.bulk._LARGE", 1)
    clusters = [response(CLUSTER, cluster(V1), nonce=f"c{i}") for i in range(3)]
    log = arrive(wire, *(response(ENDPOINT, many(3), nonce=f"e{i}") for i in range(3)), *clusters)
    assert [r.response_nonce for r in sent(log) if r.response_nonce] == ["e0", "c0", "e1", "c1", "e2", "c2"]


def test_without_a_thread_it_is_decoded_here_and_what_comes_then_is_not_stuck(wire, monkeypatch):
    served(wire, wire.log)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        log = arrive(wire, response(ENDPOINT, many(), nonce="1"))
    assert [entry[1] for entry in log if entry[0] == "target"] == [8000]
    log = arrive(wire, response(ENDPOINT, many(7000), nonce="2"))
    assert [request.response_nonce for request in sent(log)] == ["2"]


def no_thread(_):
    raise RuntimeError("can't start new thread")
