"""From configurations to connections: kept by value, drained when gone, never plaintext where mutual TLS is asked."""

from __future__ import annotations

import itertools
import logging

import grpc
import pytest

from rpc.configuration import configuration_of
from rpc.core import ChannelCore
from rpc.security import MeshProtection
from rpc.snapshot import keys, place
from rpc.transport import SubchannelKey
from tests.rpc.configs import AUTO_MTLS, ISTIO, TARGET, cluster, config, endpoint, locality, path, route
from tests.rpc.transports import FakeClientTransport
from xds_client.model import HealthStatus, LbPolicy, TargetMissing, UpstreamTls

ONE, TWO = endpoint("10.0.0.1"), endpoint("10.0.0.2")


@pytest.fixture
def core(clock):
    return ChannelCore("xds:///reviews.demo:9080", lambda: None, clock=clock)


def subchannels(core):
    return {str(subchannel.key): subchannel for subchannel in core._pool.subchannels}


def taken(core, name="c"):
    """The connection that the next call takes, and the one that is dialled beside it."""
    pick, idle = core.snapshot.clusters[name].pick(None, core.generation)
    return pick and pick.endpoint.subchannel, idle


def opened(core, address):
    """The connection to this address, with a transport as the driver makes it."""
    subchannel, transport = subchannels(core)[address], FakeClientTransport()
    assert subchannel.claim()
    subchannel.opened(transport)
    return subchannel, transport


# ---- by value


def test_an_equal_endpoint_keeps_its_connection(core):
    core.on_config(config(cluster("c", ONE)))
    kept, transport = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), TWO)))
    assert subchannels(core)["10.0.0.1:9080"] is kept
    assert kept.transport is transport
    assert transport.said == []


def test_a_changed_weight_or_cluster_name_is_no_reason_to_connect_anew(core):
    core.on_config(config(cluster("v1", ONE)))
    kept, transport = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("v2", endpoint("10.0.0.1", weight=7)), routes=[route("v2", timeout=3)]))
    assert subchannels(core)["10.0.0.1:9080"] is kept
    assert taken(core, "v2") == (kept, None)
    assert transport.said == []


def test_an_endpoint_that_is_gone_is_drained(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    _, transport = opened(core, "10.0.0.2:9080")
    core.on_config(config(cluster("c", ONE)))
    assert transport.said == ["drain"]
    assert list(subchannels(core)) == ["10.0.0.1:9080"]


def test_what_was_drained_comes_back_as_a_new_connection(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    old, _ = opened(core, "10.0.0.2:9080")
    core.on_config(config(cluster("c", ONE)))
    core.on_config(config(cluster("c", ONE, TWO)))
    assert subchannels(core)["10.0.0.2:9080"] is not old
    assert not old.claim()


def test_clusters_share_the_connection_of_an_endpoint(core):
    core.on_config(config(cluster("a", ONE), cluster("b", ONE)))
    assert len(subchannels(core)) == 1


def test_a_missing_target_drains_all_and_says_why(core):
    core.on_config(config(cluster("c", ONE)))
    _, transport = opened(core, "10.0.0.1:9080")
    core.on_config(TargetMissing(TARGET, "istiod knows no reviews.demo"))
    assert (core.snapshot, core.problem) == (None, "istiod knows no reviews.demo")
    assert transport.said == ["drain"]


def test_a_link_that_arrives_after_its_endpoint_is_gone_is_closed(core):
    core.on_config(config(cluster("c", ONE)))
    late, transport = subchannels(core)["10.0.0.1:9080"], FakeClientTransport()
    assert late.claim()
    core.on_config(config(cluster("c", TWO)))
    late.opened(transport)
    assert transport.said == ["close"]
    assert late.transport is None


def test_a_link_that_was_lost_before_it_was_found_is_not_used(core):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    assert subchannel.claim()
    subchannel.opened(FakeClientTransport(usable=False))
    assert subchannel.transport is None
    assert subchannel.idle


def used_up(subchannel, *, carried):
    """Dial it, and lose it."""
    transport = FakeClientTransport(carried=carried)
    assert subchannel.claim()
    subchannel.opened(transport)
    transport.usable = False
    subchannel.lost()


def test_of_connections_that_carried_nothing_the_first_is_forgiven_and_the_next_wait_longer(core, clock):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    used_up(subchannel, carried=False)
    assert (subchannel.idle, subchannel.error) == (True, None)
    waits = []
    for _ in range(5):
        used_up(subchannel, carried=False)
        assert not subchannel.claim()
        assert "before it had answered a call" in subchannel.error
        waits.append(subchannel.retry_in)
        clock.let_back_off_end(subchannel)
    assert all(longer > shorter for shorter, longer in itertools.pairwise(waits)), waits
    assert core.connectivity() is grpc.ChannelConnectivity.TRANSIENT_FAILURE


def test_links_that_end_together_are_one_end_and_not_two_in_a_row(core, clock):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    transports = [FakeClientTransport(), FakeClientTransport()]
    for transport in transports:
        assert subchannel.claim()
        subchannel.opened(transport)
        subchannel.transport = None  # as if the first had no stream free
    clock.advance(0.1)
    for transport in transports:
        transport.usable = False
        subchannel.lost()
    assert (subchannel.idle, subchannel.error) == (True, None)


def test_a_connection_that_carried_something_may_be_made_again_at_once(core):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    for _ in range(10):
        used_up(subchannel, carried=False)
        used_up(subchannel, carried=True)
        assert subchannel.idle


def test_a_connection_that_lived_longer_than_its_back_off_may_be_made_again_at_once(core, clock):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    for _ in range(10):
        transport = FakeClientTransport()
        assert subchannel.claim()
        subchannel.opened(transport)
        clock.advance(1000)
        transport.usable = False
        subchannel.lost()
        assert subchannel.idle


def test_a_link_lost_beside_a_good_one_is_no_failure_of_the_connection(core):
    core.on_config(config(cluster("c", ONE)))
    subchannel, good = opened(core, "10.0.0.1:9080")
    for _ in range(3):
        subchannel._dialling = True
        subchannel.opened(FakeClientTransport(usable=False))
    assert (subchannel.transport, subchannel.error) == (good, None)


def test_closing_the_channel_closes_its_connections(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    _, transport = opened(core, "10.0.0.1:9080")
    core.close()
    assert transport.said == ["close"]
    assert core.connectivity() is grpc.ChannelConnectivity.SHUTDOWN
    core.on_config(config(cluster("c", ONE)))
    assert core.snapshot is None


def test_a_configuration_with_a_broken_pattern_leaves_the_last_good_one(core, caplog):
    core.on_config(config(cluster("c", ONE)))
    good = core.snapshot
    _, transport = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", TWO), routes=[route("c", match=path("regex", "("))]))
    assert core.snapshot is good
    assert transport.said == []
    assert list(subchannels(core)) == ["10.0.0.1:9080"], "connections of a configuration that is not used"
    assert "is no regular expression" in caplog.text


def test_one_dial_at_a_time(core):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    assert [subchannel.claim(), subchannel.claim()] == [True, False]


def test_a_failed_dial_is_not_repeated_at_once(core, clock):
    core.on_config(config(cluster("c", ONE)))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    waits = []
    for _ in range(3):
        assert subchannel.claim()
        subchannel.failed("Connection refused")
        assert not subchannel.claim()
        waits.append(subchannel.retry_in)
        clock.let_back_off_end(subchannel)
    assert 0.7 < waits[0] < 1.3
    assert waits[0] < 1.6 * 1.2 / 0.8 * waits[1]
    assert 2.56 * 0.7 < waits[2] < 2.56 * 1.3


class Protected:
    """What a process with an identity makes of mutual TLS, as far as pools look at it."""

    def of(self, tls, _host):
        return tls


def test_the_other_end_may_hear_of_a_change_of_security_later(core, clock):
    """Until it has, dials are repeated soon and have not failed: calls wait."""
    core.protection = Protected()
    core.on_config(config(cluster("c", ONE)))
    opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", ONE, tls=UpstreamTls())))
    subchannel = subchannels(core)["10.0.0.1:9080"]
    for _ in range(5):
        assert subchannel.claim()
        subchannel.failed("the peer does not speak TLS on this port")
        assert 0.0 < subchannel.retry_in < 0.2
        assert subchannel.error is None
        clock.let_back_off_end(subchannel)
    clock.advance(3)  # it should have heard by now
    assert subchannel.claim()
    subchannel.failed("the peer does not speak TLS on this port")
    assert subchannel.retry_in > 0.7
    assert subchannel.error == "the peer does not speak TLS on this port"


# ---- who is used


def test_unhealthy_endpoints_are_not_used(core):
    bad = [
        endpoint(f"10.0.1.{i}", health=health)
        for i, health in enumerate([HealthStatus.UNHEALTHY, HealthStatus.DRAINING, HealthStatus.TIMEOUT])
    ]
    good = [
        endpoint(f"10.0.0.{i}", health=health)
        for i, health in enumerate([HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.DEGRADED])
    ]
    core.on_config(config(cluster("c", *bad, *good)))
    assert sorted(subchannels(core)) == [f"10.0.0.{i}:9080" for i in range(3)]


def test_a_cluster_without_healthy_endpoints_says_so(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1", health=HealthStatus.UNHEALTHY))))
    assert core.snapshot.clusters["c"].error == "cluster c has no healthy endpoint"


def test_a_cluster_that_cannot_be_used_keeps_its_reason(core):
    core.on_config(config(cluster("c", error="cluster c: EDS is missing")))
    assert core.snapshot.clusters["c"].error == "cluster c: EDS is missing"


def test_a_lower_priority_is_used_only_while_the_higher_one_has_no_connection(core):
    core.on_config(config(cluster("c", localities=[locality(1, TWO), locality(0, ONE)])))
    second, _ = opened(core, "10.0.0.2:9080")
    assert taken(core)[0] is second
    first, _ = opened(core, "10.0.0.1:9080")
    assert {taken(core)[0] for _ in range(10)} == {first}


@pytest.mark.parametrize("policy", [LbPolicy.ROUND_ROBIN, LbPolicy.RANDOM])
def test_an_endpoint_without_a_connection_is_passed_over(core, policy):
    core.on_config(config(cluster("c", ONE, TWO, lb_policy=policy)))
    ready, _ = opened(core, "10.0.0.2:9080")
    assert {taken(core)[0] for _ in range(20)} == {ready}


def test_ipv6_addresses_are_written_in_brackets():
    assert str(SubchannelKey("fd00::1", 80)) == "[fd00::1]:80"


# ---- endpoints


def test_an_endpoint_stays_the_same_object_while_it_is_the_same(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    before = core.snapshot.clusters["c"].endpoints
    core.on_config(config(cluster("c", ONE, endpoint("10.0.0.2", weight=7))))
    after = core.snapshot.clusters["c"].endpoints
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False]


def test_endpoints_of_one_address_stay_the_same_each(core):
    twice = cluster("c", localities=[locality(0, ONE), locality(1, ONE), locality(1, ONE)])
    core.on_config(config(twice))
    before = core.snapshot.clusters["c"].endpoints
    core.on_config(config(twice, cluster("d", TWO)))
    after = core.snapshot.clusters["c"].endpoints
    assert list(map(id, before)) == list(map(id, after))
    assert len(set(map(id, after))) == 3


def test_in_the_child_of_a_fork_nothing_was_counted_of_endpoints(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    before = core.snapshot.clusters["c"].endpoints
    core.inherit()
    after = core.snapshot.clusters["c"].endpoints
    assert [one.config for one in before] == [one.config for one in after]
    assert not set(before) & set(after)


# ---- never plaintext by accident


@pytest.mark.parametrize(
    ("member", "how"),
    [
        (endpoint("10.0.0.1", transport_labels=ISTIO), {"transport_matches": AUTO_MTLS}),
        (ONE, {"tls": UpstreamTls()}),
        (ONE, {"tls": UpstreamTls(), "transport_matches": AUTO_MTLS}),
    ],
    ids=["by tlsMode", "by the cluster", "by the cluster where no match fits"],
)
def test_an_endpoint_that_wants_mutual_tls_is_refused_by_name(core, member, how, caplog):
    caplog.set_level(logging.WARNING)
    core.on_config(config(cluster("c", member, **how)))
    assert subchannels(core) == {}
    error = core.snapshot.clusters["c"].error
    assert "10.0.0.1:9080 must be called over mutual TLS" in error
    assert "10.0.0.1:9080" in caplog.text


def test_beside_one_that_wants_mutual_tls_the_others_are_used(core):
    strict = endpoint("10.0.0.1", transport_labels=ISTIO)
    core.on_config(config(cluster("c", strict, TWO, transport_matches=AUTO_MTLS)))
    assert list(subchannels(core)) == ["10.0.0.2:9080"]
    assert core.snapshot.clusters["c"].error is None


def test_no_plaintext_connection_is_even_wanted_where_mutual_tls_is():
    strict = endpoint("10.0.0.1", transport_labels=ISTIO)
    told = config(cluster("c", strict, transport_matches=AUTO_MTLS))
    assert keys(place(configuration_of(told), MeshProtection(None))) == {}


def test_an_endpoint_that_turns_to_mutual_tls_loses_its_plaintext_connection(core):
    core.on_config(config(cluster("c", ONE, transport_matches=AUTO_MTLS)))
    _, transport = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", endpoint("10.0.0.1", transport_labels=ISTIO), transport_matches=AUTO_MTLS)))
    assert transport.said == ["drain"]
    assert taken(core) == (None, None)


def test_one_address_that_is_plain_in_one_cluster_and_strict_in_another_is_refused_in_that_one_only(core):
    core.on_config(config(cluster("plain", ONE), cluster("strict", ONE, tls=UpstreamTls())))
    assert core.snapshot.clusters["plain"].error is None
    assert "mutual TLS" in core.snapshot.clusters["strict"].error
