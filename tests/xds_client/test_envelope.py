"""A large response is opened in pieces, and between them, as between resources, other threads have their turn."""

from __future__ import annotations

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2

from tests.xds_client.mesh import cluster, response
from xds_client import ResourceType, envelope
from xds_client.codec import decode_delta_response
from xds_client.decode import content
from xds_client.envelope import pieces
from xds_client.errors import DecodeError, ProtocolError
from xds_client.turns import in_turns

CLUSTER = ResourceType.CLUSTER
PIECE = 64 << 10


@pytest.fixture(scope="module")
def large():
    answer = response(CLUSTER, *(cluster(f"c{i}") for i in range(3000)), nonce="n", removed=["a", "b"])
    for index, resource in enumerate(answer.resources):
        resource.version = str(index)
    answer.resources.add(name="heartbeat")
    answer.resources.add(name="large", resource=any_pb2.Any(type_url="x", value=b"\xff" * 300_000))
    return answer


def test_no_piece_is_larger_than_it_must_be(large):
    data = large.SerializeToString()
    cut = list(pieces(data))
    assert b"".join(cut) == data
    assert sum(len(piece) > PIECE + 1000 for piece in cut) == 1  # that with the large resource
    assert len(cut) >= (len(data) - 300_000) // (PIECE + 1000)


def test_the_pieces_say_what_the_whole_says(large):
    decoded = decode_delta_response(large.SerializeToString())
    assert (decoded.type_url, decoded.nonce, decoded.removed) == (CLUSTER.value, "n", ("a", "b"))
    assert [(r.name, r.version, r.type_url, r.data) for r in decoded.resources] == [
        (r.name, r.version, r.resource.type_url, r.resource.value if r.HasField("resource") else None)
        for r in large.resources
    ]


def test_what_is_too_large_to_be_taken_is_named_and_not_copied(large):
    answer = discovery_pb2.DeltaDiscoveryResponse.FromString(large.SerializeToString())
    huge = any_pb2.Any(type_url=CLUSTER.value, value=bytes(envelope.LARGEST_RESOURCE + PIECE))
    answer.resources.add(name="huge", version="7", resource=huge)
    answer.resources.add(name="behind", version="8", resource=any_pb2.Any(type_url="x", value=b"y"))
    *before, named, behind = decode_delta_response(answer.SerializeToString()).resources
    assert (named.name, named.version, named.type_url, len(named.data)) == ("huge", "7", CLUSTER.value, len(huge.value))
    assert isinstance(named.data, memoryview)
    assert (behind.name, behind.data, len(before)) == ("behind", b"y", len(large.resources))
    with pytest.raises(DecodeError, match="'huge': is of 16842752 bytes"):
        content(CLUSTER, named.name, named.type_url, named.data)


def test_a_huge_field_that_is_no_resource_is_no_response():
    with pytest.raises(ProtocolError, match="no resource"):
        decode_delta_response(b"\x22" + b"\x81\x80\x80\x10" + bytes((32 << 20) + 1))


def test_bytes_after_which_no_field_ends_are_no_response(large):
    data = large.SerializeToString()
    for wrong in (data[:-1], data + b"\x0b", data + b"\x0a", data + b"\xff" * 11, b"\x0b" * 100_000):
        with pytest.raises(ProtocolError):
            decode_delta_response(wrong)


def test_fields_of_all_lengths_are_known(large):
    more = b"\xf8\x01\x80\x01" + b"\xf9\x01" + b"8" * 8 + b"\xfd\x01" + b"4" * 4  # a later Envoy's
    decoded = decode_delta_response(large.SerializeToString() + more)
    assert len(decoded.resources) == len(large.resources)


def test_empty_resources_are_refused_before_they_are_objects(monkeypatch):
    monkeypatch.setattr(envelope, "_MOST_FIELDS", 50_000)
    with pytest.raises(ProtocolError, match="more than 50000"):
        list(pieces(b"\x12\x00" * 50_001))
    assert discovery_pb2.DeltaDiscoveryResponse.FromString(b"\x12\x00").resources


def test_who_worked_a_millisecond_rests_as_long(monkeypatch):
    now, rests = [0.0], []
    monkeypatch.setattr("xds_client.turns.time.thread_time", lambda: now[0])
    monkeypatch.setattr("xds_client.turns.time.sleep", rests.append)
    for _ in in_turns(range(1000)):
        now[0] += 0.0001
    assert sum(rests) == pytest.approx(now[0], rel=0.05)
    assert max(rests) < 0.002
