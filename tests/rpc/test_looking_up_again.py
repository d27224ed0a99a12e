"""Names behind round robin are looked up again: when a connection goes, however politely, and where asked to."""

from __future__ import annotations

import socket
import time

import grpc
import pytest

from tests.rpc.script import READ, greet, request
from tests.rpc.tls.ends import until

NAME = "pods.test"
ROUND_ROBIN = ("grpc.lb_policy_name", "round_robin")
AT_ONCE = ("grpc.dns_min_time_between_resolutions_ms", 50)
NEVER_AGAIN = ("grpc.dns_min_time_between_resolutions_ms", 3_600_000)
# Long enough to carry a call each: connections that end unused are another matter, they count as failed.
SHORT_LIVES = [("grpc.max_connection_age_ms", 700), ("grpc.max_connection_age_grace_ms", 60_000)]


class Pods:
    """Servers on one port of several addresses, each greeting by its own, and what the name says of them."""

    def __init__(self, world, monkeypatch):
        self._world = world
        self._port = 0
        self.addresses = []
        self.looked_up = 0
        system_s = socket.getaddrinfo

        def getaddrinfo(host, port, *args, flags=0, **how):
            if host != NAME:
                return system_s(host, port, *args, flags=flags, **how)
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no IP address")
            self.looked_up += 1
            if not self.addresses:
                raise socket.gaierror(socket.EAI_NONAME, "nobody is called so")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def start(self, address, options=None):
        def script():
            yield READ
            yield greet(request(address))

        self._port = self._world.start_server(script, options, address=f"{address}:{self._port}")[1]

    def connect(self, *options):
        return self._world.connect(f"dns:///{NAME}:{self._port}", [ROUND_ROBIN, *options])


@pytest.fixture
def pods(our_world, monkeypatch):
    return Pods(our_world, monkeypatch)


def answering(client):
    """Who answers the next call."""
    [said] = client.call("unary", request(), wait_for_ready=True).messages
    return said.removeprefix("Hello, ").removesuffix("!")


def test_after_a_polite_close_new_addresses_are_found(pods):
    pods.start("127.0.0.1", SHORT_LIVES)
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = pods.connect(AT_ONCE)
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    until(lambda: answering(client) == "127.0.0.2", "the new pod is never called")


def test_however_often_connections_go_the_name_is_looked_up_no_more_often_than_allowed(pods):
    pods.start("127.0.0.1", SHORT_LIVES)
    pods.addresses = ["127.0.0.1"]
    client = pods.connect(NEVER_AGAIN)
    numbers = set()

    def new_ones():
        answering(client)
        numbers.update(n for connection in client.channel._driver.core.connections for n in connection.sockets)
        time.sleep(0.02)
        return len(numbers) > 3

    until(new_ones)
    assert pods.looked_up == 1


def test_a_name_that_was_not_found_is_looked_up_again_by_itself_and_all_of_its_addresses_are_used(pods):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    client = pods.connect(NEVER_AGAIN)
    assert client.call("unary", request()).code is grpc.StatusCode.UNAVAILABLE
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    seen = set()
    until(lambda: seen.add(answering(client)) or len(seen) == 2, "one address for ever")


def test_where_asked_to_a_name_is_looked_up_though_nothing_went_wrong(pods):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = pods.connect(AT_ONCE, ("proxyless.dns_refresh_ms", 200))
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.2"]
    until(lambda: answering(client) == "127.0.0.2")
    before = pods.looked_up
    until(lambda: pods.looked_up > before + 1, "it was looked up once")
