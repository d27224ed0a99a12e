"""Identities come, are renewed, and expire while calls go on: nothing is closed for it, nothing falls back."""

import threading
import time
from datetime import timedelta

import grpc

from tests.rpc.script import READ, greet, wait_for
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import REVIEWS, SHOP, Authority, as_identity
from tests.rpc.tls.ends import hello, links, raw, redial, refused, tell_peer, until
from tests.rpc.tls.mesh import Mesh, permissive, strict

EXPIRED = f"the certificate of {SHOP} has expired (it was dated until noon); istiod.test:15012 refuses the token"


def test_a_first_call_waits_for_the_identity(our_world, shop, reviews):
    ours = Mesh(None)
    client = our_world.call_from(ours, our_world.serve_in(Mesh(reviews), strict()))
    call = client.begin("unary", asked("Ann"))
    time.sleep(0.2)  # it may dial meanwhile, and must not find a way without
    ours.identity.set(shop)
    assert call.code() is grpc.StatusCode.OK


def test_an_identity_that_does_not_come_fails_the_call_and_says_why(our_world, reviews):
    client = our_world.call_from(Mesh(None), our_world.serve_in(Mesh(reviews), strict()), connect_timeout=0.3)
    refused(client, "istiod has not answered yet")


def test_a_server_waits_for_its_identity_and_lets_nobody_in_until_then(our_world, shop, reviews, caplog):
    theirs = Mesh(None)
    address = our_world.serve_in(theirs, strict())
    early = our_world.call_from(Mesh(shop), address)
    refused(early)
    until(lambda: "the port still waits for the certificate of this process" in caplog.text)
    theirs.identity.set(reviews)
    hello(our_world.call_from(Mesh(shop), address))
    hello(early, wait_for_ready=True)


def test_a_server_waits_for_its_listener_and_lets_nobody_in_until_then(our_world, shop, reviews, caplog):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, None)
    refused(our_world.call_from(Mesh(shop), address))
    with raw(address) as plaintext:
        plaintext.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert plaintext.recv(100) == b""
    until(lambda: "the port still waits for the inbound listener of this node" in caplog.text)
    theirs.inbound.set(strict())
    hello(our_world.call_from(Mesh(shop), address))


def test_a_renewed_client_certificate_closes_nothing_and_is_shown_next_time(our_world, mesh_root, shop, reviews):
    seen = []
    client, ours, _ = our_world.pair(shop, reviews, script=tell_peer(seen))
    hello(client)
    [link] = links(client)
    renewed = mesh_root.identity(SHOP)
    ours.identity.set(renewed)
    hello(client)
    assert links(client) == [link]
    redial(client)
    hello(client)
    shown = [context["x509_pem_cert"][0] for context, _, _ in seen]
    assert shown[0] == shown[1] == shop.certificate_chain
    assert shown[2] == renewed.certificate_chain


def test_a_renewed_server_certificate_closes_nothing_and_is_shown_next_time(our_world, mesh_root, shop, reviews):
    client, _, theirs = our_world.pair(shop, reviews)
    hello(client)
    [link] = links(client)
    bad = as_identity(mesh_root.issue(REVIEWS + "-too", REVIEWS), REVIEWS, mesh_root.pem)
    theirs.identity.set(bad)
    hello(client)
    assert links(client) == [link]
    redial(client)
    refused(client, "exactly one URI name")  # so it is the new one that is shown


def test_an_expired_identity_fails_calls_closed_and_a_new_one_mends_it(our_world, mesh_root, shop, reviews):
    client, ours, _ = our_world.pair(shop, reviews)
    hello(client)
    ours.identity.expire(EXPIRED)
    refused(client, EXPIRED, "nothing is sent without")
    late = our_world.call_from(ours).call("unary", asked("Ann"), timeout=0.5)
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert EXPIRED in late.details
    ours.identity.set(mesh_root.identity(SHOP))
    hello(client)


def test_a_stream_that_is_open_when_the_identity_expires_goes_on(our_world, shop, reviews):
    client, ours, _ = our_world.pair(shop, reviews)
    call = client.begin("bidi", asked("Ann"))
    assert call.read().message == "Hello, Ann!"
    ours.identity.expire(EXPIRED)
    call.write(asked("Bob"))
    assert call.read().message == "Hello, Bob!"
    call.done_writing()
    assert call.read() is None


def test_a_servers_certificate_that_expired_is_refused_by_clients_and_the_server_says_so(
    our_world, mesh_root, shop, caplog
):
    short = mesh_root.issue(REVIEWS, ends=timedelta(seconds=-1))
    client, _, _ = our_world.pair(shop, as_identity(short, REVIEWS, mesh_root.pem))
    refused(client, f"the certificate of {REVIEWS} expired")
    until(lambda: "the peer refused our certificate as expired" in caplog.text)


def test_a_server_whose_identity_expired_lets_nobody_in_and_a_new_one_mends_it(
    our_world, mesh_root, shop, reviews, caplog
):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, strict())
    client = our_world.call_from(Mesh(shop), address)
    hello(client)
    [link] = links(client)
    theirs.identity.expire(f"the certificate of {REVIEWS} has expired (it was dated until noon)")
    late = our_world.call_from(Mesh(shop), address)
    refused(late, wait_for_ready=False)
    until(lambda: f"nobody is let in without: the certificate of {REVIEWS} has expired" in caplog.text)
    until(lambda: "not accepted" in caplog.text)
    hello(client)
    assert links(client) == [link], "connections that are there stay"
    theirs.identity.set(mesh_root.identity(REVIEWS))
    hello(late, wait_for_ready=True)
    assert links(client) == [link]


def test_plaintext_that_the_mode_allows_needs_no_identity(our_world, mesh_root, shop, reviews):
    theirs = Mesh(reviews)
    address = our_world.serve_in(theirs, permissive())
    theirs.identity.expire(EXPIRED)
    refused(our_world.call_from(Mesh(shop), address))
    hello(our_world.connect(address))


def test_roots_rotate_while_calls_go_on(our_world, mesh_root):
    """Old and new are trusted together, then certificates change, then the old root goes: no call fails."""
    following = Authority("the next mesh")
    both = mesh_root.pem + following.pem
    client, ours, theirs = our_world.pair(mesh_root.identity(SHOP), mesh_root.identity(REVIEWS))
    stop, failures, calls = threading.Event(), [], []

    def keep_calling():
        while not stop.is_set():
            answer = client.call("unary", asked("Ann"))
            calls.append(answer.code)
            if answer.code is not grpc.StatusCode.OK:
                failures.append(answer)

    def some_more():
        enough = len(calls) + 5
        until(lambda: len(calls) >= enough or failures)

    caller = threading.Thread(target=keep_calling)
    caller.start()
    try:
        for signer, roots in ((mesh_root, both), (following, both), (following, following.pem)):
            for mesh, name in ((ours, SHOP), (theirs, REVIEWS)):
                mesh.identity.set(as_identity(signer.issue(name), name, roots))
                some_more()
                redial(client)
                some_more()
    finally:
        stop.set()
        caller.join()
    assert failures == []
    old = Mesh(as_identity(mesh_root.issue(SHOP), SHOP, both)).dials(links_address(client))
    refused(our_world.call_from(old), "it does not know our CA")


def links_address(client):
    [key] = [connection.key for connection in client.channel._driver.core._pool.subchannels]
    return str(key)


def test_a_peer_whose_root_is_no_longer_trusted_is_told_to_go(our_world, mesh_root, shop, reviews):
    """Its connection is drained when the roots change: the call in progress ends well, the next one is refused."""
    release = threading.Event()

    def script():
        request = yield READ
        if request.name == "slow":
            yield wait_for(release)
        yield greet(request)

    client, _, theirs = our_world.pair(shop, reviews, script=script)
    hello(client)
    slow = client.begin("unary", asked("slow"))
    other = Authority("the next mesh")
    theirs.identity.set(as_identity(mesh_root.issue(REVIEWS), REVIEWS, other.pem))
    until(lambda: not links(client), "the connection of a peer that is not trusted any more is kept")
    refused(client, "it does not know our CA")
    release.set()
    assert slow.code() is grpc.StatusCode.OK


def test_resumed_sessions_are_connections_of_the_same_peer(our_world, mesh_root):
    seen = []
    client, _, _ = our_world.pair(mesh_root.identity(SHOP), mesh_root.identity(REVIEWS), script=tell_peer(seen))
    for _ in range(3):
        hello(client)
        redial(client)
    reused = [context["ssl_session_reused"] for context, _, _ in seen]
    assert reused == [[b"false"], [b"true"], [b"true"]]
    assert [list(identities) for _, identities, _ in seen] == [[SHOP.encode()]] * 3


def test_a_new_identity_resumes_nothing_of_the_old_one(our_world, mesh_root):
    seen = []
    client, ours, theirs = our_world.pair(mesh_root.identity(SHOP), mesh_root.identity(REVIEWS), script=tell_peer(seen))
    hello(client)
    redial(client)
    ours.identity.set(mesh_root.identity("spiffe://cluster.local/ns/demo/sa/admin"))
    hello(client)
    redial(client)
    theirs.identity.set(mesh_root.identity(REVIEWS))
    hello(client)
    assert [context["ssl_session_reused"] for context, _, _ in seen] == [[b"false"]] * 3
    assert [next(iter(identities))[-5:] for _, identities, _ in seen] == [b"/shop", b"admin", b"admin"]


def test_in_the_mesh_the_caller_is_its_spiffe_id_whatever_else_it_is_called(our_world, mesh_root, reviews):
    """Only that is vouched for: DNS names, e-mail addresses and common names are not looked at."""
    seen = []
    shop = mesh_root.identity(SHOP, dns=("payments.example",), ips=("10.0.0.1",), common_name="admin")
    client, _, _ = our_world.pair(shop, reviews, script=tell_peer(seen))
    hello(client)
    [(context, identities, key)] = seen
    assert (list(identities), key) == ([SHOP.encode()], "peer_spiffe_id")
    assert context["x509_subject_alternative_name"] == [SHOP.encode(), b"payments.example", b"10.0.0.1"]
