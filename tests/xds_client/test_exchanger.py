"""The exchanger over real gRPC: what a user of the package sees."""

from __future__ import annotations

import logging
import queue
import socket
import threading

import pytest

from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, response, route, subset, with_garbage
from xds_client import (
    Bootstrap,
    ExchangerClosedError,
    PilotExchanger,
    ResourceMissingError,
    ResourceTimeoutError,
    ResourceType,
    Target,
    TargetConfig,
    TargetMissing,
)

CLUSTER, ENDPOINT, ROUTE = ResourceType.CLUSTER, ResourceType.ENDPOINT, ResourceType.ROUTE
TARGET = Target("reviews", 9080)
V1 = subset("v1")


def reviews(*addresses):
    return cluster(V1), endpoints(V1, *addresses), route(REVIEWS_ROUTE, V1)


def address_in(config):
    return config.clusters[0].endpoints.localities[0].endpoints[0].address


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_target_is_announced_whole_and_again_when_it_changes(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.7"))
    news = queue.Queue()
    exchanger = open_exchanger(server.address)
    handle = exchanger.observe_target(TARGET, news.put)
    config = news.get(timeout=10)
    assert isinstance(config, TargetConfig)
    assert address_in(config) == "10.0.0.7"
    server.put(endpoints(V1, "10.0.0.8"))
    assert address_in(news.get(timeout=10)) == "10.0.0.8"
    handle.close()
    gone = server.next_request(of=lambda r: r.type_url == ROUTE.value and r.resource_names_unsubscribe)
    assert list(gone.resource_names_unsubscribe) == [REVIEWS_ROUTE]


def test_istiod_hears_who_asks(start_server, open_exchanger, node):
    server = start_server()
    open_exchanger(server.address)
    first = server.next_request()
    assert first.node.id == "sidecar~10.0.0.1~shop.demo~demo.svc.cluster.local"
    assert first.node.metadata["NAMESPACE"] == "demo"
    assert first.node.metadata["DISABLE_HBONE_SEND"] == "true"


def test_an_unknown_host(start_server, open_exchanger):
    server = start_server(route(REVIEWS_ROUTE), route("9080"))
    news = queue.Queue()
    open_exchanger(server.address).observe_target(TARGET, news.put)
    missing = news.get(timeout=10)
    assert isinstance(missing, TargetMissing)
    assert "empty route table" in missing.reason


def test_get_typed_values(start_server, open_exchanger):
    exchanger = open_exchanger(start_server(*reviews("10.0.0.7")).address)
    assert exchanger.get(CLUSTER, V1).eds_name == V1
    assert exchanger.get(ENDPOINT, V1).localities[0].endpoints[0].address == "10.0.0.7"
    assert exchanger.get(ROUTE, REVIEWS_ROUTE).virtual_hosts[0].domains == ("*",)


def test_get_of_what_does_not_exist(start_server, open_exchanger, node):
    exchanger = open_exchanger(start_server().address)
    with pytest.raises(ResourceMissingError, match="not among them") as raised:
        exchanger.get(CLUSTER, "nosuch", timeout=10)
    assert node.id in str(raised.value)
    with pytest.raises(ResourceMissingError, match="removed it"):
        exchanger.get(ENDPOINT, "nosuch", timeout=10)


def test_get_without_an_answer_in_time(start_server, open_exchanger):
    exchanger = open_exchanger(start_server(removed_when_unknown=False).address)
    with pytest.raises(ResourceTimeoutError, match=r"no answer within 0\.05 s"):
        exchanger.get(ENDPOINT, "nosuch", timeout=0.05)
    assert isinstance(ResourceTimeoutError("n", ENDPOINT, "x", ""), TimeoutError)


def test_no_control_plane_at_start_raises_nothing_says_so_and_works_once_there_is_one(
    start_server, open_exchanger, free_port, caplog
):
    caplog.set_level(logging.WARNING, logger="proxyless")
    exchanger = open_exchanger(f"127.0.0.1:{free_port}")
    news = queue.Queue()
    exchanger.observe_target(TARGET, news.put)
    with pytest.raises(ResourceTimeoutError, match=f":{free_port} is "):
        exchanger.get(CLUSTER, V1, timeout=0.3)
    assert exchanger.status().connected is False
    assert "no stream to control plane" in caplog.text
    assert "attempt 2 in" in caplog.text
    assert "refused" in exchanger.status().connection.last_error
    assert exchanger.status().retry_in is None or 0 <= exchanger.status().retry_in < 1
    start_server(*reviews("10.0.0.7"), port=free_port)
    assert address_in(news.get(timeout=30)) == "10.0.0.7"
    assert exchanger.status().connected is True
    assert exchanger.status().connection.last_error == ""


def test_reconnect_after_a_restart_with_changed_configuration(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.7"))
    exchanger = open_exchanger(server.address)
    news = queue.Queue()
    exchanger.observe_target(TARGET, news.put)
    assert address_in(news.get(timeout=10)) == "10.0.0.7"
    server.stop()
    start_server(*reviews("10.0.0.8"), port=server.port)
    assert address_in(news.get(timeout=30)) == "10.0.0.8"


def test_a_malformed_resource_shows_in_status(start_server, open_exchanger):
    server = start_server(*reviews("10.0.0.7"))
    exchanger = open_exchanger(server.address)
    news = queue.Queue()
    exchanger.observe_target(TARGET, news.put)
    news.get(timeout=10)
    server.send(with_garbage(response(ENDPOINT, nonce="bad"), V1))
    nack = server.next_request(of=lambda r: r.HasField("error_detail"))
    assert V1 in nack.error_detail.message
    status = exchanger.status()
    assert [e.name for e in status.rejected] == [V1]
    assert status.wanted[ROUTE] == {REVIEWS_ROUTE}
    asked_for_nothing = {ResourceType.LISTENER: 0, ResourceType.EXTENSION: 0}
    assert status.known == {CLUSTER: 1, ENDPOINT: 1, ROUTE: 1, **asked_for_nothing}
    assert news.empty()


def test_closing_ends_everything(start_server, open_exchanger):
    server = start_server(removed_when_unknown=False)
    exchanger = open_exchanger(server.address)
    waiting = queue.Queue()

    def wait():
        try:
            exchanger.get(ENDPOINT, "nosuch", timeout=60)
        except ExchangerClosedError as error:
            waiting.put(error)

    thread = threading.Thread(target=wait)
    thread.start()
    server.next_request(of=lambda r: r.type_url == ENDPOINT.value)
    exchanger.close()
    exchanger.close()
    assert "nosuch" in str(waiting.get(timeout=10))
    thread.join(timeout=10)
    with pytest.raises(ExchangerClosedError, match="open a new one"):
        exchanger.observe_target(TARGET, print)
    assert "xds-stream" not in {t.name for t in threading.enumerate()}


def test_an_exchanger_may_be_closed_from_inside_an_observer(start_server, node):
    server = start_server(*reviews("10.0.0.7"))
    done = threading.Event()
    with PilotExchanger(Bootstrap(node, server.address, "plaintext")) as exchanger:

        def close(_):
            exchanger.close()
            done.set()

        exchanger.observe_target(TARGET, close)
        assert done.wait(10)


def test_names_are_needed(start_server, open_exchanger):
    exchanger = open_exchanger(start_server().address)
    for names in ([], [""], ""):
        with pytest.raises(ValueError, match="needs names"):
            exchanger.observe(ENDPOINT, names, print)


def test_one_name_may_be_a_plain_string(start_server, open_exchanger):
    exchanger = open_exchanger(start_server(*reviews("10.0.0.7")).address)
    news = queue.Queue()
    exchanger.observe(ENDPOINT, V1, news.put)
    assert list(news.get(timeout=10).found) == [V1]
