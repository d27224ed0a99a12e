"""The node's inbound listener as servers hear of it: asked for only then, the last good one kept, absence explained."""

from __future__ import annotations

import logging
import queue

import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.cors.v3 import cors_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from tests.xds_client.mesh import cluster, inbound, response
from tests.xds_client.wire import sent
from xds_client import ResourceMissingError, ResourceNotCachedError, ResourceTimeoutError, Target, model
from xds_client.resolve import Inbound
from xds_client.resource_type import ResourceType
from xds_client.session import PATIENCE

CLUSTER, LISTENER, EXTENSION = ResourceType.CLUSTER, ResourceType.LISTENER, ResourceType.EXTENSION
NEVER = "the control plane sent all resources of this type, and this one is not among them"


def asked_listeners(log):
    return [
        (list(r.resource_names_subscribe), list(r.resource_names_unsubscribe))
        for r in sent(log)
        if r.type_url == LISTENER.value and not r.response_nonce
    ]


def ports(listener):
    return [chain.match.destination_port for chain in listener.filter_chains]


def test_listeners_are_asked_for_only_while_somebody_observes_inbound(wire):
    wire.observe(Target("reviews", 9080))
    assert asked_listeners(wire.open()) == []
    mark = len(wire.log)
    handle = wire.observe(Inbound(), lambda _: None)
    assert asked_listeners(wire.log[mark:]) == [(["*"], [])]
    mark = len(wire.log)
    handle.close()
    wire.run()
    assert asked_listeners(wire.log[mark:]) == [([], ["*"])]


def test_now_and_at_every_change_but_not_when_another_listener_changes(wire):
    wire.open()
    news = wire.observe(Inbound())
    assert news == []
    assert wire.loop.status().inbound is None
    wire.receive(response(LISTENER, inbound(8080), inbound(1, name="0.0.0.0_1")))
    wire.receive(response(LISTENER, inbound(8080), inbound(2, name="0.0.0.0_1")))
    wire.receive(response(LISTENER, inbound(8080, 9090)))
    assert list(map(ports, news)) == [[8080], [8080, 9090]]
    late = wire.observe(Inbound())
    assert late == news[-1:] == [wire.loop.status().inbound]


def test_what_is_missing_names_the_node_and_what_to_check(wire):
    wire.open()
    news = wire.observe(Inbound())
    wire.receive(response(LISTENER, inbound(1, name="virtualOutbound")))
    assert news == [
        model.InboundMissing(
            "no inbound listener 'virtualInbound' for node sidecar~10.0.0.1~shop.demo~demo.svc.cluster.local: "
            f"{NEVER}; check that istiod knows this workload by its IP 10.0.0.1, its namespace 'demo' and its cluster "
            "id 'Kubernetes'"
        )
    ]
    assert wire.loop.status().inbound == news[0]
    wire.receive(response(LISTENER, inbound(8080)))
    assert ports(news[1]) == [8080]


def test_a_control_plane_that_does_not_answer_is_missing_after_a_while_and_heard_when_it_does(wire):
    news = wire.observe(Inbound())
    wire.pass_time(10 * PATIENCE)
    assert news == [], "nobody could be asked yet"
    wire.open()
    wire.receive(response(CLUSTER, cluster("c")))
    wire.pass_time(PATIENCE - 0.1)
    assert news == []
    wire.pass_time(0.1)
    assert "did not answer for 15 s" in news[0].reason
    wire.receive(response(LISTENER, inbound(8080)))
    assert ports(news[1]) == [8080]


def test_the_last_good_listener_stays_through_an_outage_a_removal_and_a_malformed_one(wire, caplog):
    wire.open()
    news = wire.observe(Inbound())
    wire.receive(response(LISTENER, inbound(8080)))
    wire.reopen()
    wire.pass_time(10 * PATIENCE)
    malformed = inbound(9090)
    malformed.filter_chains[0].filter_chain_match.address_suffix = "10.0.0.1"
    [nack] = [r for r in sent(wire.receive(response(LISTENER, malformed, nonce="n2"))) if r.response_nonce]
    assert "filter_chains[0].filter_chain_match.address_suffix" in nack.error_detail.message
    with caplog.at_level(logging.WARNING):
        wire.receive(response(LISTENER, removed=["virtualInbound"]))
    assert "no inbound listener 'virtualInbound'" in caplog.text
    assert "the last good one stays in use" in caplog.text
    assert list(map(ports, news)) == [[8080]]
    assert ports(wire.loop.status().inbound) == [8080]
    wire.receive(response(LISTENER, inbound(7070)))
    assert list(map(ports, news)) == [[8080], [7070]]


def test_a_malformed_first_one_is_missing_and_says_why(wire):
    wire.open()
    news = wire.observe(Inbound())
    malformed = inbound(9090)
    malformed.filter_chains[0].filter_chain_match.address_suffix = "10.0.0.1"
    wire.receive(response(LISTENER, malformed))
    assert "filter_chain_match.address_suffix: is not implemented" in news[0].reason


# Over real gRPC


def test_observe_and_get(start_server, open_exchanger):
    server = start_server(inbound(8080))
    exchanger = open_exchanger(server.address)
    assert ports(exchanger.get_inbound(timeout=10)) == [8080]
    news = queue.Queue()
    with exchanger.observe_inbound(news.put):
        assert ports(news.get(timeout=10)) == [8080]
        server.put(inbound(9090))
        assert ports(news.get(timeout=10)) == [9090]
        assert exchanger.status().inbound == exchanger.get_inbound()


def test_get_what_is_not_there(start_server, open_exchanger):
    exchanger = open_exchanger(start_server(inbound(1, name="virtualOutbound")).address)
    with pytest.raises(ResourceMissingError, match=r"cluster\s+id 'Kubernetes'"):
        exchanger.get_inbound(timeout=10)


def test_get_without_a_control_plane(open_exchanger):
    with pytest.raises(ResourceTimeoutError, match=r"Listener 'virtualInbound' .* no answer within 0.01 s"):
        open_exchanger("127.0.0.1:1").get_inbound(timeout=0.01)


def test_get_inside_an_observer_does_not_wait(start_server, open_exchanger):
    exchanger = open_exchanger(start_server(cluster("c")).address)
    answers = queue.Queue()

    def ask(_):
        try:
            answers.put(exchanger.get_inbound(timeout=1000))
        except ResourceNotCachedError as error:
            answers.put(error)

    exchanger.observe(CLUSTER, "c", ask)
    assert "not cached" in str(answers.get(timeout=10))


# ---- filters that are configured by a resource of their own

ROUTER, RBAC = router_pb2.Router(), rbac_pb2.RBAC()


def discovering(*permitted, path=""):
    """An inbound listener one of whose HTTP filters comes by ECDS, under a name that sounds harmless."""
    message = inbound(8080)
    manager = http_connection_manager_pb2.HttpConnectionManager()
    asked = manager.http_filters.add(name="istio.stats").config_discovery
    if path:
        asked.config_source.path_config_source.path = path
    else:
        asked.config_source.ads.SetInParent()
    asked.type_urls.extend(f"type.googleapis.com/{kind}" for kind in permitted)
    manager.http_filters.add(name="router").typed_config.Pack(ROUTER)
    message.filter_chains[0].filters[0].typed_config.Pack(manager)
    return message


def extension(config, name="istio.stats"):
    message = extension_pb2.TypedExtensionConfig(name=name)
    message.typed_config.Pack(config)
    return message


def first_filter(listener):
    return listener.filter_chains[0].http_filters[0]


def test_a_filter_by_ecds_is_unknown_and_asked_for_then_what_it_turns_out_to_be(wire):
    wire.open()
    news = wire.observe(Inbound())
    log = wire.receive(response(LISTENER, discovering()))
    assert [first_filter(news[-1]).type, first_filter(news[-1]).unknown] == ["", "its configuration has not come yet"]
    assert [list(r.resource_names_subscribe) for r in sent(log) if r.type_url == EXTENSION.value] == [["istio.stats"]]
    for config in (cors_pb2.Cors(), RBAC):
        wire.receive(response(EXTENSION, extension(config)))
        assert (first_filter(news[-1]).type, first_filter(news[-1]).unknown) == (config.DESCRIPTOR.full_name, "")
    wire.receive(response(EXTENSION, removed=["istio.stats"]))
    assert (first_filter(news[-1]).type, first_filter(news[-1]).unknown) == ("", "the control plane removed it")
    assert len(news) == 4


def test_a_filter_by_ecds_must_be_one_of_those_that_the_listener_permits(wire):
    wire.open()
    news = wire.observe(Inbound())
    wire.receive(response(LISTENER, discovering(RBAC.DESCRIPTOR.full_name)))
    wire.receive(response(EXTENSION, extension(cors_pb2.Cors())))
    assert (first_filter(news[-1]).type, "which the listener does not permit" in first_filter(news[-1]).unknown) == (
        "",
        True,
    )


def test_a_filter_whose_configuration_does_not_come_by_ads_is_not_what_ads_calls_by_its_name(wire):
    wire.open()
    news = wire.observe(Inbound())
    log = wire.receive(response(LISTENER, discovering(path="/etc/filter")))
    assert not [r for r in sent(log) if r.type_url == EXTENSION.value], "nobody asks ADS for it"
    wire.receive(response(EXTENSION, extension(cors_pb2.Cors())))
    wire.receive(response(LISTENER, discovering(cors_pb2.Cors.DESCRIPTOR.full_name, path="/etc/filter")))
    assert {(first_filter(said).type, first_filter(said).unknown) for said in news} == {
        ("", "its configuration does not come by ADS")
    }
    wire.receive(response(LISTENER, discovering()))
    wire.receive(response(EXTENSION, extension(cors_pb2.Cors())))
    assert first_filter(news[-1]).type == cors_pb2.Cors.DESCRIPTOR.full_name, "by ADS it is"


def test_a_filter_by_ecds_that_nobody_sends_stays_unknown_and_says_so(wire):
    wire.open()
    news = wire.observe(Inbound())
    wire.receive(response(CLUSTER, cluster("c")))
    wire.receive(response(LISTENER, discovering()))
    wire.pass_time(PATIENCE)
    assert first_filter(news[-1]).type == ""
    assert "did not answer" in first_filter(news[-1]).unknown
