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
from rpc.transport import ConnectionKey
from tests.rpc.configs import AUTO_MTLS, ISTIO, TARGET, cluster, config, endpoint, locality, path, route
from tests.rpc.links import FakeLink
from xds_client.model import HealthStatus, LbPolicy, TargetMissing, UpstreamTls

ONE, TWO = endpoint("10.0.0.1"), endpoint("10.0.0.2")


@pytest.fixture
def core(clock):
    return ChannelCore("xds:///reviews.demo:9080", lambda: None, clock=clock)


def connections(core):
    return {str(connection.key): connection for connection in core._pool.connections}


def taken(core, name="c"):
    """The connection that the next call takes, and the one that is dialled beside it."""
    pick, idle = core.snapshot.clusters[name].pick(None, core.generation)
    return pick and pick.endpoint.connection, idle


def opened(core, address):
    """The connection to this address, with a link as the driver makes it."""
    connection, link = connections(core)[address], FakeLink()
    assert connection.claim()
    connection.opened(link)
    return connection, link


# ---- by value


def test_an_equal_endpoint_keeps_its_connection(core):
    core.on_config(config(cluster("c", ONE)))
    kept, link = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), TWO)))
    assert connections(core)["10.0.0.1:9080"] is kept
    assert kept.link is link
    assert link.said == []


def test_a_changed_weight_or_cluster_name_is_no_reason_to_connect_anew(core):
    core.on_config(config(cluster("v1", ONE)))
    kept, link = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("v2", endpoint("10.0.0.1", weight=7)), routes=[route("v2", timeout=3)]))
    assert connections(core)["10.0.0.1:9080"] is kept
    assert taken(core, "v2") == (kept, None)
    assert link.said == []


def test_an_endpoint_that_is_gone_is_drained(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    _, link = opened(core, "10.0.0.2:9080")
    core.on_config(config(cluster("c", ONE)))
    assert link.said == ["drain"]
    assert list(connections(core)) == ["10.0.0.1:9080"]


def test_what_was_drained_comes_back_as_a_new_connection(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    old, _ = opened(core, "10.0.0.2:9080")
    core.on_config(config(cluster("c", ONE)))
    core.on_config(config(cluster("c", ONE, TWO)))
    assert connections(core)["10.0.0.2:9080"] is not old
    assert not old.claim()


def test_clusters_share_the_connection_of_an_endpoint(core):
    core.on_config(config(cluster("a", ONE), cluster("b", ONE)))
    assert len(connections(core)) == 1


def test_a_missing_target_drains_all_and_says_why(core):
    core.on_config(config(cluster("c", ONE)))
    _, link = opened(core, "10.0.0.1:9080")
    core.on_config(TargetMissing(TARGET, "istiod knows no reviews.demo"))
    assert (core.snapshot, core.problem) == (None, "istiod knows no reviews.demo")
    assert link.said == ["drain"]


def test_a_link_that_arrives_after_its_endpoint_is_gone_is_closed(core):
    core.on_config(config(cluster("c", ONE)))
    late, link = connections(core)["10.0.0.1:9080"], FakeLink()
    assert late.claim()
    core.on_config(config(cluster("c", TWO)))
    late.opened(link)
    assert link.said == ["close"]
    assert late.link is None


def test_a_link_that_was_lost_before_it_was_found_is_not_used(core):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    assert connection.claim()
    connection.opened(FakeLink(usable=False))
    assert connection.link is None
    assert connection.idle


def used_up(connection, *, carried):
    """Dial it, and lose it."""
    link = FakeLink(carried=carried)
    assert connection.claim()
    connection.opened(link)
    link.usable = False
    connection.lost()


def test_of_connections_that_carried_nothing_the_first_is_forgiven_and_the_next_wait_longer(core, clock):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    used_up(connection, carried=False)
    assert (connection.idle, connection.error) == (True, None)
    waits = []
    for _ in range(5):
        used_up(connection, carried=False)
        assert not connection.claim()
        assert "before it had answered a call" in connection.error
        waits.append(connection.retry_in)
        clock.let_back_off_end(connection)
    assert all(longer > shorter for shorter, longer in itertools.pairwise(waits)), waits
    assert core.connectivity() is grpc.ChannelConnectivity.TRANSIENT_FAILURE


def test_links_that_end_together_are_one_end_and_not_two_in_a_row(core, clock):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    links = [FakeLink(), FakeLink()]
    for link in links:
        assert connection.claim()
        connection.opened(link)
        connection.link = None  # as if the first had no stream free
    clock.advance(0.1)
    for link in links:
        link.usable = False
        connection.lost()
    assert (connection.idle, connection.error) == (True, None)


def test_a_connection_that_carried_something_may_be_made_again_at_once(core):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    for _ in range(10):
        used_up(connection, carried=False)
        used_up(connection, carried=True)
        assert connection.idle


def test_a_connection_that_lived_longer_than_its_back_off_may_be_made_again_at_once(core, clock):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    for _ in range(10):
        link = FakeLink()
        assert connection.claim()
        connection.opened(link)
        clock.advance(1000)
        link.usable = False
        connection.lost()
        assert connection.idle


def test_a_link_lost_beside_a_good_one_is_no_failure_of_the_connection(core):
    core.on_config(config(cluster("c", ONE)))
    connection, good = opened(core, "10.0.0.1:9080")
    for _ in range(3):
        connection._dialling = True
        connection.opened(FakeLink(usable=False))
    assert (connection.link, connection.error) == (good, None)


def test_closing_the_channel_closes_its_connections(core):
    core.on_config(config(cluster("c", ONE, TWO)))
    _, link = opened(core, "10.0.0.1:9080")
    core.close()
    assert link.said == ["close"]
    assert core.connectivity() is grpc.ChannelConnectivity.SHUTDOWN
    core.on_config(config(cluster("c", ONE)))
    assert core.snapshot is None


def test_a_configuration_with_a_broken_pattern_leaves_the_last_good_one(core, caplog):
    core.on_config(config(cluster("c", ONE)))
    good = core.snapshot
    _, link = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", TWO), routes=[route("c", match=path("regex", "("))]))
    assert core.snapshot is good
    assert link.said == []
    assert list(connections(core)) == ["10.0.0.1:9080"], "connections of a configuration that is not used"
    assert "is no regular expression" in caplog.text


def test_one_dial_at_a_time(core):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    assert [connection.claim(), connection.claim()] == [True, False]


def test_a_failed_dial_is_not_repeated_at_once(core, clock):
    core.on_config(config(cluster("c", ONE)))
    connection = connections(core)["10.0.0.1:9080"]
    waits = []
    for _ in range(3):
        assert connection.claim()
        connection.failed("Connection refused")
        assert not connection.claim()
        waits.append(connection.retry_in)
        clock.let_back_off_end(connection)
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
    connection = connections(core)["10.0.0.1:9080"]
    for _ in range(5):
        assert connection.claim()
        connection.failed("the peer does not speak TLS on this port")
        assert 0.0 < connection.retry_in < 0.2
        assert connection.error is None
        clock.let_back_off_end(connection)
    clock.advance(3)  # it should have heard by now
    assert connection.claim()
    connection.failed("the peer does not speak TLS on this port")
    assert connection.retry_in > 0.7
    assert connection.error == "the peer does not speak TLS on this port"


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
    assert sorted(connections(core)) == [f"10.0.0.{i}:9080" for i in range(3)]


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
    assert str(ConnectionKey("fd00::1", 80)) == "[fd00::1]:80"


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
    assert connections(core) == {}
    error = core.snapshot.clusters["c"].error
    assert "10.0.0.1:9080 must be called over mutual TLS" in error
    assert "10.0.0.1:9080" in caplog.text


def test_beside_one_that_wants_mutual_tls_the_others_are_used(core):
    strict = endpoint("10.0.0.1", transport_labels=ISTIO)
    core.on_config(config(cluster("c", strict, TWO, transport_matches=AUTO_MTLS)))
    assert list(connections(core)) == ["10.0.0.2:9080"]
    assert core.snapshot.clusters["c"].error is None


def test_no_plaintext_connection_is_even_wanted_where_mutual_tls_is():
    strict = endpoint("10.0.0.1", transport_labels=ISTIO)
    told = config(cluster("c", strict, transport_matches=AUTO_MTLS))
    assert keys(place(configuration_of(told), MeshProtection(None))) == {}


def test_an_endpoint_that_turns_to_mutual_tls_loses_its_plaintext_connection(core):
    core.on_config(config(cluster("c", ONE, transport_matches=AUTO_MTLS)))
    _, link = opened(core, "10.0.0.1:9080")
    core.on_config(config(cluster("c", endpoint("10.0.0.1", transport_labels=ISTIO), transport_matches=AUTO_MTLS)))
    assert link.said == ["drain"]
    assert taken(core) == (None, None)


def test_one_address_that_is_plain_in_one_cluster_and_strict_in_another_is_refused_in_that_one_only(core):
    core.on_config(config(cluster("plain", ONE), cluster("strict", ONE, tls=UpstreamTls())))
    assert core.snapshot.clusters["plain"].error is None
    assert "mutual TLS" in core.snapshot.clusters["strict"].error
