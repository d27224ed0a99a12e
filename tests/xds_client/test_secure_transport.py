"""The ADS stream over TLS: whom we believe the control plane is, and what we show it, stream by stream."""

from __future__ import annotations

import queue

import grpc
import pytest

from tests.xds_client.engines import both
from tests.xds_client.identity.authority import SPIFFE_ID, Authority, certificate_of
from tests.xds_client.identity.ca_server import HOST, CaServer
from tests.xds_client.identity.conftest import FakeClock
from tests.xds_client.identity.istiod import Istiod
from tests.xds_client.mesh import REVIEWS_ROUTE, cluster, endpoints, route, subset
from xds_client import Bootstrap, IdentitySettings, PilotExchanger, ReconnectSchedule, ResourceType, Target


@both
def channels(request):
    return request.param


@pytest.fixture
def istiod(tmp_path, channels):
    istiod = Istiod(tmp_path, channels)
    yield istiod
    for stream in istiod.streams:
        stream.close()
    if istiod.server:
        istiod.server.stop()


def test_the_token_and_the_cluster_are_shown(istiod, node):
    istiod.serve(cluster("a"))
    _, events = istiod.connect(node)
    assert events.next() == "received"
    metadata, _ = istiod.shown()
    assert (metadata["authorization"], metadata["clusterid"]) == ("Bearer good-token", "east")


def test_every_stream_shows_the_token_of_its_day(istiod, node):
    istiod.serve(cluster("a"))
    transport = istiod.transport()
    istiod.connect(node, transport)
    assert istiod.shown()[0]["authorization"] == "Bearer good-token"
    istiod.token.write_text("next-token")
    istiod.connect(node, transport)
    assert istiod.shown()[0]["authorization"] == "Bearer next-token"


def test_a_certificate_is_shown_instead_once_there_is_one(istiod, node):
    istiod.serve(cluster("a"), by_certificate=True)
    leaf = istiod.certify()
    _, events = istiod.connect(node)
    assert events.next() == "received"
    metadata, peer = istiod.shown()
    assert "authorization" not in metadata
    assert certificate_of(peer) == leaf


def test_when_the_certificate_rotates_the_stream_stays_and_the_next_one_shows_the_new_one(istiod, node):
    istiod.serve(cluster("a"), by_certificate=True)
    transport = istiod.transport()
    first = istiod.certify()
    stream, events = istiod.connect(node, transport)
    assert events.next() == "received"
    second = istiod.certify()
    stream.read()
    istiod.server.put(cluster("b"))
    assert events.next() == "received"
    istiod.connect(node, transport)
    assert [certificate_of(istiod.shown()[1]) for _ in range(2)] == [first, second]


def test_a_refused_certificate_gives_way_to_the_token_and_the_other_way_round(istiod, node):
    istiod.serve(cluster("a"))
    istiod.certify()
    refusal = grpc.StatusCode.UNAUTHENTICATED, "authentication failure"
    istiod.server.refusal = lambda metadata: None if "authorization" in metadata else refusal
    transport = istiod.transport()
    _, events = istiod.connect(node, transport)
    reason = events.next()
    assert f"UNAUTHENTICATED: authentication failure; it was shown the certificate of {SPIFFE_ID}" in reason
    _, events = istiod.connect(node, transport)
    assert events.next() == "received"
    istiod.server.refusal = lambda metadata: refusal
    istiod.connect(node, transport)[1].next()
    istiod.connect(node, transport)[1].next()
    shown = ["authorization" in istiod.shown()[0] for _ in range(4)]
    assert shown[:2] == [False, True]
    assert shown[2] != shown[3]


def test_an_expired_certificate_is_not_shown(istiod, node):
    istiod.serve(cluster("a"))
    istiod.certify()
    istiod.source.publish(istiod.source.current, 0.0)
    istiod.connect(node)
    assert istiod.shown()[0]["authorization"] == "Bearer good-token"


def test_without_token_and_certificate_there_is_no_stream(istiod, node):
    istiod.serve()
    istiod.token.unlink()
    _, events = istiod.connect(node)
    assert f"token {istiod.token} cannot be read" in events.next()
    assert istiod.server.shown.empty()


def test_without_roots_there_is_no_stream(istiod, node):
    istiod.serve()
    istiod.roots.unlink()
    _, events = istiod.connect(node)
    assert f"mesh root file {istiod.roots} cannot be read" in events.next()


def test_the_roots_that_came_with_the_certificate_do_too(istiod, node):
    istiod.serve(cluster("a"))
    istiod.certify()
    istiod.roots.unlink()
    _, events = istiod.connect(node)
    assert events.next() == "received"


def test_a_control_plane_of_another_mesh_hears_nothing(istiod, node):
    server = istiod.serve(authority=Authority("evil"))
    _, events = istiod.connect(node)
    reason = events.next()
    assert "CERTIFICATE_VERIFY_FAILED" in reason or "reaches none of our roots" in reason
    assert f"is {istiod.roots} the root of that mesh" in reason
    assert server.shown.empty()


def test_a_control_plane_of_another_name_hears_nothing_until_the_name_is_set(istiod, node):
    server = istiod.serve(cluster("a"))
    _, events = istiod.connect(node, istiod.transport(server.address))
    assert "set PROXYLESS_SERVER_NAME" in events.next()
    assert server.shown.empty()
    _, events = istiod.connect(node, istiod.transport(server.address, server_name=HOST))
    assert events.next() == "received"


def test_a_refused_token_is_described_and_not_shown(istiod, node):
    istiod.serve()
    istiod.server.refusal = lambda metadata: (grpc.StatusCode.PERMISSION_DENIED, "no identities matched for good-token")
    _, events = istiod.connect(node)
    reason = events.next()
    assert "PERMISSION_DENIED: no identities matched for <token>; it was shown token" in reason
    assert "good-token" not in reason


def test_an_exchanger_gets_its_identity_and_its_configuration(istiod, node):
    v1 = subset("v1")
    istiod.serve(cluster(v1), endpoints(v1, "10.0.0.7"), route(REVIEWS_ROUTE, v1))
    ca = CaServer(istiod.authority, FakeClock().true)
    settings = IdentitySettings(
        ca_address=ca.address, token_path=str(istiod.token), root_certificate_path=str(istiod.roots)
    )
    bootstrap = Bootstrap(node, f"localhost:{istiod.server.port}", "tls", settings)
    news = queue.Queue()
    try:
        with PilotExchanger(bootstrap, schedule=ReconnectSchedule(first=0.02, longest=0.05)) as exchanger:
            assert exchanger.identity.wait(30).spiffe_id == SPIFFE_ID
            exchanger.observe_target(Target("reviews", 9080), news.put)
            assert news.get(timeout=30).host
            status = exchanger.status()
            assert status.connected
            assert status.identity.spiffe_id == SPIFFE_ID
            assert status.identity.error == ""
    finally:
        ca.stop()


def test_an_exchanger_in_plaintext_has_no_identity_unless_it_is_told_to(start_server, node):
    address = start_server().address
    with PilotExchanger(Bootstrap(node, address, "plaintext")) as exchanger:
        assert exchanger.identity is None
        assert exchanger.status().identity is None
    with PilotExchanger(Bootstrap(node, address, "plaintext", IdentitySettings("files"))) as exchanger:
        assert "cannot be read" in exchanger.identity.error or "has not answered" in exchanger.identity.error


def test_without_a_source_of_identities_the_token_alone_carries_the_stream(istiod, node):
    istiod.serve(cluster("a"))
    settings = IdentitySettings("none", token_path=str(istiod.token), root_certificate_path=str(istiod.roots))
    bootstrap = Bootstrap(node, f"localhost:{istiod.server.port}", "tls", settings)
    with PilotExchanger(bootstrap) as exchanger:
        assert exchanger.identity is None
        assert exchanger.get(ResourceType.CLUSTER, "a", timeout=30)
    assert istiod.shown()[0]["authorization"] == "Bearer good-token"


def test_an_identity_that_is_given_stays_its_owners(istiod, node):
    istiod.serve(cluster("a"), by_certificate=True)
    istiod.certify()
    settings = IdentitySettings(token_path=str(istiod.token), root_certificate_path=str(istiod.roots))
    bootstrap = Bootstrap(node, f"localhost:{istiod.server.port}", "tls", settings)
    with PilotExchanger(bootstrap, identity=istiod.source) as exchanger:
        assert exchanger.identity is istiod.source
        assert exchanger.get(ResourceType.CLUSTER, "a", timeout=30)
    assert not istiod.source.closing
