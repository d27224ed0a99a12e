"""What a control plane can make a process read, keep, say and log is bounded."""

from __future__ import annotations

import gc
import logging

import pytest

from tests.xds_client.mesh import cluster, endpoints, response, route, subset
from tests.xds_client.wire import sent
from xds_client import DecodeError, ResourceType, Target
from xds_client.cache import _weight
from xds_client.codec import decode_delta_response
from xds_client.decode import parse
from xds_client.envelope import LARGEST_RESOURCE, LONGEST_NAME
from xds_client.errors import ProtocolError
from xds_client.resolve import Selection

CLUSTER, ENDPOINT = ResourceType.CLUSTER, ResourceType.ENDPOINT
V1 = subset("v1")


def wrongly_packed(count, nonce="n1"):
    answer = response(CLUSTER, nonce=nonce)
    for index in range(count):
        answer.resources.add(name=f"{nonce}-{index}").resource.type_url = "x" * 5000
    return answer


def test_a_resource_of_50_megabytes_is_refused_by_name_and_not_parsed():
    with pytest.raises(DecodeError, match=rf"'{V1.replace('|', '.')}': is of 50000000 bytes, more than"):
        parse(CLUSTER, V1, CLUSTER.value, b"\xff" * 50_000_000)


def test_of_thousands_of_errors_the_control_plane_is_told_some(wire):
    wire.open()
    [nack] = sent(wire.receive(wrongly_packed(5000)))
    assert nack.error_detail.message.count("is packed as") == 20
    assert nack.error_detail.message.endswith("and 4980 more")
    assert len(nack.error_detail.message) < 30_000


def test_the_log_says_some_and_how_many_more(wire, caplog):
    caplog.set_level(logging.WARNING)
    wire.open()
    for number in range(5):
        wire.receive(wrongly_packed(1000, nonce=f"n{number}"))
    assert caplog.text.count("rejected") == 10
    wire.pass_time(20)
    wire.receive(wrongly_packed(1, nonce="later"))
    assert "4990 more" in caplog.records[-1].getMessage()


def test_names_that_were_never_good_are_not_remembered_without_end(wire):
    wire.open()
    for number in range(8):
        wire.receive(wrongly_packed(2000, nonce=f"n{number}"))
    assert len(wire.loop.status().rejected) == 10_000


def test_endless_names_and_versions_are_not_remembered(wire):
    long = "x" * 100_000
    wire.observe(Target("reviews", 9080))
    wire.open()
    answer = response(CLUSTER, cluster("a"), cluster(long), nonce="1")
    answer.resources[0].version = long
    for _ in range(2):
        answer.resources.add(name=long + "y").resource.type_url = "nothing"
    [nack] = sent(wire.receive(answer))
    assert "has a name of more than 4096 characters" in nack.error_detail.message
    status = wire.loop.status()
    assert status.known[CLUSTER] == 1
    assert [len(error.name) for error in status.rejected] == [203]
    again = sent(wire.reopen())
    assert dict(again[0].initial_resource_versions) == {"a": ""}


def test_an_endless_nonce_is_no_response():
    with pytest.raises(ProtocolError, match="a nonce of 100000 characters"):
        decode_delta_response(response(CLUSTER, cluster("a"), nonce="n" * 100_000).SerializeToString())


def test_what_is_too_large_to_be_taken_has_no_endless_name(wire):
    answer = response(CLUSTER, cluster("a"), nonce="1")
    answer.resources[0].name = "x" * (LARGEST_RESOURCE * 2)
    [large] = decode_delta_response(answer.SerializeToString()).resources
    assert len(large.name) == LONGEST_NAME + 1
    wire.open()
    assert "has a name of more than" in sent(wire.receive(answer))[0].error_detail.message


def test_there_is_room_for_so_much_and_what_is_known_stays(wire, monkeypatch):
    monkeypatch.setattr("xds_client.cache._MOST", 3000)
    news = wire.observe(Selection(CLUSTER, frozenset({"a", "z"})))
    wire.open()
    wire.receive(response(CLUSTER, cluster("a"), nonce="1"))
    [nack] = sent(wire.receive(response(CLUSTER, *(cluster(name) for name in "bcdefz"), nonce="2")))
    assert "there are" in nack.error_detail.message
    assert "a" in news[-1].found
    assert "z" in news[-1].missing
    assert wire.loop.status().known[CLUSTER] == 4
    wire.receive(response(CLUSTER, nonce="3", removed=["b", "c"]))
    [ack] = sent(wire.receive(response(CLUSTER, cluster("z"), nonce="4")))
    assert not ack.HasField("error_detail")
    assert "z" in news[-1].found


def test_room_is_given_back_with_what_nobody_wants(wire, monkeypatch):
    monkeypatch.setattr("xds_client.cache._MOST", 1000)
    wire.open()
    for name in ("a", "b", "c"):
        news = []
        handle = wire.observe(Selection(ENDPOINT, frozenset({name})), news.append)
        [ack] = sent(wire.receive(response(ENDPOINT, endpoints(name, "10.0.0.1"))))
        assert not ack.HasField("error_detail")
        assert name in news[-1].found
        handle.close()
        wire.run()


def test_clusters_that_nobody_looks_at_are_bytes_and_no_messages():
    parsed = parse(CLUSTER, V1, CLUSTER.value, cluster(V1).SerializeToString())
    assert parsed._message is None
    assert parsed.value().name == V1


def test_clusters_that_nobody_looks_at_are_nothing_that_garbage_collections_visit(wire):
    wire.observe(Target("reviews", 9080))
    wire.open()
    for nanos in (1, 2):
        clusters = [cluster(f"c{i}") for i in range(1000)]
        for one in clusters:
            one.connect_timeout.nanos = nanos
        wire.receive(response(CLUSTER, *clusters))
    assert wire.loop.status().known[CLUSTER] == 1000
    gc.collect()  # which is when tuples of bytes alone leave its lists
    assert not any(map(gc.is_tracked, wire.loop._caches.by_type[CLUSTER].known.values()))


def test_what_stands_behind_the_newest_form_takes_room_too(wire, monkeypatch):
    monkeypatch.setattr("xds_client.cache._MOST", 12_000)
    wire.open()
    for number in range(3):
        clusters = [cluster(f"c{i}") for i in range(10)]
        for one in clusters:
            one.alt_stat_name = f"{number}" * 500
        [reply] = sent(wire.receive(response(CLUSTER, *clusters)))
        assert reply.HasField("error_detail") == (number > 0)
    cache = wire.loop._caches.by_type[CLUSTER]
    assert cache.size == sum(map(_weight, cache.known.values())) <= 12_000
    assert sum(len(data) for forms in cache.known.values() for data in forms) <= 12_000


def test_what_there_is_no_room_for_is_forgotten_and_the_control_plane_told(wire, monkeypatch):
    monkeypatch.setattr("xds_client.cache._MOST", 2000)
    monkeypatch.setattr("xds_client.cache._MOST_MALFORMED", 10)
    wire.open()
    for number in range(2):
        [nack] = sent(wire.receive(response(CLUSTER, *(cluster(f"{number}-{i}") for i in range(50)))))
        assert "more are refused: there is no room for them" in nack.error_detail.message
    assert len(wire.loop.status().rejected) == 10
    first = wire.reopen()[0][1]
    assert len(first.initial_resource_versions) == wire.loop.status().known[CLUSTER] < 5


def test_the_form_before_is_good_although_nobody_had_looked_at_it(wire):
    wire.open()
    wire.receive(response(CLUSTER, cluster(V1)))
    senseless = cluster(V1)
    senseless.connect_timeout.seconds = -1
    wire.receive(response(CLUSTER, senseless))
    assert V1 in wire.observe(Selection(CLUSTER, frozenset({V1})))[-1].found


def test_a_target_goes_on_by_the_last_good_form(wire):
    news = wire.observe(Target("reviews", 9080))
    wire.open()
    wire.receive(response(CLUSTER, cluster(V1)))
    wire.receive(response(ResourceType.ROUTE, route("reviews.demo.svc.cluster.local:9080", V1)))
    wire.receive(response(ENDPOINT, endpoints(V1, "10.0.0.1")))
    large = endpoints(V1, "10.0.0.2")
    large.endpoints[0].locality.region = "x" * (17 << 20)
    [nack] = sent(wire.receive(response(ENDPOINT, large)))
    assert "more than" in nack.error_detail.message
    assert len(news) == 1
