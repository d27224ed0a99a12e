"""Names behind round robin are looked up again: when a connection goes, however politely, and where asked to."""

from __future__ import annotations

import grpc
import pytest

from tests.rpc.pods import NAME, SHORT_LIVES, Pods, answering
from tests.rpc.script import request
from tests.rpc.tls.ends import until

ROUND_ROBIN = ("grpc.lb_policy_name", "round_robin")
AT_ONCE = ("grpc.dns_min_time_between_resolutions_ms", 50)
NEVER_AGAIN = ("grpc.dns_min_time_between_resolutions_ms", 3_600_000)


@pytest.fixture
def pods(our_world, monkeypatch):
    return Pods(our_world, monkeypatch)


def connect(pods, *options):
    return pods.world.connect(f"dns:///{NAME}:{pods.port}", [ROUND_ROBIN, *options])


def test_after_a_polite_close_new_addresses_are_found(pods):
    pods.start("127.0.0.1", SHORT_LIVES)
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, AT_ONCE)
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    until(lambda: answering(client) == "127.0.0.2", "the new pod is never called")


def test_however_often_connections_go_the_name_is_looked_up_no_more_often_than_allowed(pods):
    pods.start("127.0.0.1", SHORT_LIVES)
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, NEVER_AGAIN)
    numbers = set()

    def new_ones():
        answering(client)
        numbers.update(n for connection in client.channel._driver.core.subchannels for n in connection.transports)
        return len(numbers) > 3

    until(new_ones)
    assert pods.looked_up == 1


def test_a_name_that_was_not_found_is_looked_up_again_by_itself_and_all_of_its_addresses_are_used(pods):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    client = connect(pods, NEVER_AGAIN)
    assert client.call("unary", request()).code is grpc.StatusCode.UNAVAILABLE
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    seen = set()
    until(lambda: seen.add(answering(client)) or len(seen) == 2, "one address for ever")


def test_where_asked_to_a_name_is_looked_up_though_nothing_went_wrong(pods):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, AT_ONCE, ("proxyless.dns_refresh_ms", 200))
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.2"]
    until(lambda: answering(client) == "127.0.0.2")
    before = pods.looked_up
    until(lambda: pods.looked_up > before + 1, "it was looked up once")
