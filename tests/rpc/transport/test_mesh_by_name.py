"""Clusters of the mesh whose endpoints are names, as of headless Services: looked up, and looked up again."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace

import grpc
import pytest

from rpc.resolver import name
from rpc.resolver.addresses import Addresses
from tests.rpc.configs import cluster, config, endpoint
from tests.rpc.pods import SHORT_LIVES, Pods, answering
from tests.rpc.programs import FORKING, ended, python
from tests.rpc.script import request
from tests.rpc.tls.ends import until
from tests.rpc.tls.mesh import TARGET, Mesh
from xds_client.model import DiscoveryType, TargetMissing

NAME = "reviews.demo.svc.cluster.local"
AT_ONCE = ("grpc.dns_min_time_between_resolutions_ms", 50)
NEVER_AGAIN = ("grpc.dns_min_time_between_resolutions_ms", 3_600_000)
BY_NAME = [DiscoveryType.ORIGINAL_DST, DiscoveryType.STRICT_DNS]


@pytest.fixture
def pods(our_world, monkeypatch):
    return Pods(our_world, monkeypatch, NAME)


@pytest.fixture(params=BY_NAME, ids=lambda discovery: discovery.value)
def discovery(request):
    return request.param


def by_name(*hosts, port=9080, discovery=DiscoveryType.ORIGINAL_DST, name="c"):
    """A cluster with these names for endpoints."""
    made = cluster(name, *(endpoint(host, port) for host in hosts))
    object.__setattr__(made.cluster, "discovery", discovery)
    return made


def headless(pods, discovery=DiscoveryType.ORIGINAL_DST):
    mesh = Mesh(plaintext=True)
    mesh.outbound.set(config(by_name(NAME, port=pods.port, discovery=discovery)))
    return mesh


def connect(pods, mesh, *options):
    return pods.world.connect(TARGET, [*options], mesh=mesh)


def everybody(client, count):
    """Who answers, once it is so many."""
    seen = set()
    until(lambda: seen.add(answering(client)) or len(seen) >= count, f"only {seen} answer")
    return seen


def test_all_addresses_of_the_name_are_called_in_turn(pods, discovery):
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    for address in addresses:
        pods.start(address)
    pods.addresses = addresses
    client = connect(pods, headless(pods, discovery), NEVER_AGAIN)
    assert everybody(client, 3) == set(addresses)
    assert sorted(answering(client) for _ in range(30)) == sorted(addresses * 10)
    assert pods.looked_up == 1


def test_a_pod_that_comes_is_called_though_nobody_goes(pods, discovery):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, headless(pods, discovery), AT_ONCE)
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    everybody(client, 2)


def test_a_pod_that_left_the_name_is_not_called_any_more(pods):
    pods.start("127.0.0.1")
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    client = connect(pods, headless(pods), AT_ONCE)
    everybody(client, 2)
    pods.addresses = ["127.0.0.2"]
    connections = client.channel._driver.core
    until(lambda: [c.key.address for c in connections.subchannels] == ["127.0.0.2"], "its connection stays")
    assert {answering(client) for _ in range(10)} == {"127.0.0.2"}


def test_a_connection_that_ends_is_a_reason_to_look_the_name_up(pods):
    pods.start("127.0.0.1", SHORT_LIVES)
    pods.start("127.0.0.2")
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, headless(pods), AT_ONCE, ("proxyless.dns_refresh_ms", 3_600_000))
    assert answering(client) == "127.0.0.1"
    pods.addresses = ["127.0.0.1", "127.0.0.2"]
    everybody(client, 2)


def test_a_name_that_is_not_found_fails_calls_by_its_name_and_is_looked_up_until_it_is(pods, discovery):
    pods.start("127.0.0.1")
    client = connect(pods, headless(pods, discovery), AT_ONCE)
    answer = client.call("unary", request())
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    for word in (
        "cluster c:",
        f"'{NAME}' is not resolved: nobody is called so",
        "check" if "STRICT" in discovery.value else "headless",
    ):
        assert word in answer.details, answer.details
    waiting = client.begin("server_stream", request(), wait_for_ready=True)
    pods.addresses = ["127.0.0.1"]
    assert waiting.read().message == "Hello, 127.0.0.1!"


def test_who_is_called_past_the_mesh_is_told_of_and_a_failure_says_why_it_is_so(pods, caplog):
    mesh = Mesh(plaintext=True)
    why = "no host 'reviews.demo' in the mesh"
    mesh.outbound.set(replace(config(by_name(NAME, port=pods.port)), past_the_mesh=why))
    client = connect(pods, mesh, AT_ONCE)
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "in plaintext" in warning
    assert why in warning
    answer = client.call("unary", request())
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert f"'{NAME}' is not resolved: nobody is called so; {why}" in answer.details


def test_a_name_that_is_lost_again_leaves_its_last_addresses_in_use(pods):
    pods.start("127.0.0.1")
    pods.addresses = ["127.0.0.1"]
    client = connect(pods, headless(pods), AT_ONCE)
    answering(client)
    pods.addresses = []
    before = pods.looked_up
    until(lambda: pods.looked_up > before)
    assert answering(client) == "127.0.0.1"


@pytest.mark.parametrize("waits", [False, True], ids=["fails", "waits"])
def test_a_name_that_no_thread_could_be_had_for_is_looked_up_for_the_next_call(pods, monkeypatch, waits):
    """It was not looked up ever again: it has no connection that could fail, and no timer."""
    pods.start("127.0.0.1")
    pods.addresses = ["127.0.0.1"]
    begun, none = name.begun, threading.Event()

    def not_at_first(*told):
        return begun(*told) if none.is_set() else None

    monkeypatch.setattr(name, "begun", not_at_first)
    client = connect(pods, headless(pods), NEVER_AGAIN)
    answer = client.call("unary", request())
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "has no thread to give" in answer.details
    waiting = client.begin("server_stream", request(), wait_for_ready=True) if waits else None
    none.set()
    if waiting is not None:
        assert waiting.read().message == "Hello, 127.0.0.1!"
    else:
        until(lambda: client.call("unary", request()).messages == ["Hello, 127.0.0.1!"], "it is not looked up")


def test_a_look_up_that_ends_after_the_channel_leaves_no_timer(monkeypatch):
    looking, gate = threading.Event(), threading.Event()

    def look_up(host, port):
        looking.set()
        assert gate.wait(30)
        return [(None, None, None, "", ("10.0.0.1", port))]

    monkeypatch.setattr(name, "look_up", look_up)
    before = set(threading.enumerate())
    addresses = Addresses(lambda _: None, 3600.0, 3600.0)
    addresses.put(config(by_name("a")))
    assert looking.wait(30)
    addresses.close()
    gate.set()
    until(lambda: not set(threading.enumerate()) - before, "a timer of an hour stays")


def test_one_unknown_name_of_several_costs_the_others_nothing(pods):
    pods.start("127.0.0.1")
    pods.addresses = ["127.0.0.1"]
    mesh = Mesh(plaintext=True)
    names = (NAME, "nobody.invalid")
    mesh.outbound.set(config(by_name(*names, port=pods.port, discovery=DiscoveryType.STRICT_DNS)))
    assert answering(connect(pods, mesh, AT_ONCE)) == "127.0.0.1"


def test_the_child_of_a_fork_looks_up_for_itself():
    assert ended(python(FORK)) == (0, ["looked", "up"], "")


FORK = (
    FORKING
    + """
    import os, socket, threading
    from rpc.resolver.addresses import Addresses
    from tests.rpc.transport.test_mesh_by_name import NAME, by_name, config, hosts

    pods, told, changed = ["127.0.0.1"], [], threading.Event()
    socket.getaddrinfo = lambda host, port, *_, **__: [(socket.AF_INET, 1, 6, "", (pods[0], port))]

    def tell(news):
        told.append(hosts(news))
        changed.set()

    def look_up_in_the_child():
        pods[0] = "127.0.0.2"
        changed.clear()
        addresses.resume()
        assert changed.wait(30)
        assert told[-1] == ["127.0.0.2"], told
        print("looked up", flush=True)

    addresses = Addresses(tell, 0.0, 3600.0)
    addresses.put(config(by_name(NAME)))
    assert changed.wait(30)
    with addresses._lock:  # of a thread that the child does not have
        child = fork(look_up_in_the_child)
    assert status(child) == 0
"""
)


# ---- what waits for what


@pytest.fixture
def slow(monkeypatch):
    """Look-ups are answered when the test opens the gate."""
    gate, told = threading.Event(), []

    def look_up(host, port):
        assert gate.wait(30)
        return [(None, None, None, "", (f"10.0.0.{len(host)}", port))]

    monkeypatch.setattr("rpc.resolver.name.look_up", look_up)
    addresses = Addresses(told.append, 3600.0, 3600.0)
    yield gate, told, addresses
    gate.set()
    addresses.close()


def hosts(news):
    return [e.address for c in news.clusters for place in c.endpoints.localities for e in place.endpoints]


def test_a_configuration_waits_for_its_names_and_the_one_before_stays(slow):
    gate, told, addresses = slow
    plain = config(cluster("c", endpoint("10.9.9.9")))
    addresses.put(plain)
    assert told == [plain]
    addresses.put(config(by_name("a", "10.1.1.1", discovery=DiscoveryType.STRICT_DNS)))
    assert addresses.waiting_for() == "the addresses of a"
    assert told == [plain]
    gate.set()
    until(lambda: len(told) == 2)
    assert hosts(told[1]) == ["10.0.0.1", "10.1.1.1"]
    assert addresses.waiting_for() is None


def test_a_configuration_that_needs_no_names_any_more_waits_for_none(slow):
    _, told, addresses = slow
    addresses.put(config(by_name("a")))
    missing = TargetMissing(None, "gone")
    addresses.put(missing)
    assert told == [missing]


def test_the_name_of_a_logical_dns_cluster_is_looked_up_when_it_is_dialled(slow):
    _, told, addresses = slow
    logical = config(by_name("a", discovery=DiscoveryType.LOGICAL_DNS))
    addresses.put(logical)
    assert told == [logical]


def test_who_is_told_is_told_by_one_thread_at_a_time_and_the_newest_last(monkeypatch):
    monkeypatch.setattr(
        "rpc.resolver.name.look_up", lambda host, port: [(None, None, None, "", (f"10.0.0.{len(host)}", port))]
    )
    inside, most, told = [], [], []

    def on_told(news):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.001)
        told.append(news)
        inside.pop()

    addresses = Addresses(on_told, 0.0, 0.001)
    for count in range(1, 60):
        addresses.put(config(by_name("a" * count)))
    until(lambda: told and hosts(told[-1]) == ["10.0.0.59"])
    assert set(most) == {1}
    addresses.close()


def test_a_channel_that_is_dropped_looks_nothing_up_any_more(pods):
    pods.start("127.0.0.1")
    pods.addresses = ["127.0.0.1"]
    addresses = Addresses(lambda _: None, 0.0, 0.01)
    addresses.put(config(by_name(NAME)))
    until(lambda: pods.looked_up > 2)
    alive = weakref.ref(addresses)
    del addresses
    until(lambda: gc.collect() >= 0 and alive() is None, "its look-ups keep it")
    until(lambda: not [t for t in threading.enumerate() if t.name == f"dns {NAME}"], "it is looked up for nobody")
