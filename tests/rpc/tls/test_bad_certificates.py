"""What each side makes of the other's bad certificate: a refusal that names who and why, and nobody else is hurt."""

from datetime import timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ExtendedKeyUsageOID

from tests.rpc.script import request
from tests.rpc.tls.certificates import HOUR, REVIEWS, SHOP, TRUST_DOMAIN, Authority, as_identity, self_signed
from tests.rpc.tls.ends import hello, refused, until
from tests.rpc.tls.mesh import WHO_DIALS, Mesh, rule, strict
from xds_client.model import DownstreamTls, UpstreamTls

EVIL = "spiffe://evil.example/ns/demo/sa/reviews"
DAY = 24 * HOUR


def expired(root, uri):
    return root.issue(uri, starts=-2 * HOUR, ends=-HOUR)


def not_yet(root, uri):
    return root.issue(uri, starts=HOUR, ends=2 * HOUR)


def elsewhere(root, uri):
    return root.issue(uri.replace(TRUST_DOMAIN, "evil.example"))


def nobody(root, uri):
    return root.issue(dns=["reviews.demo.svc.cluster.local"])


def nameless(root, uri):
    return root.issue(common_name="reviews")


def two(root, uri):
    return root.issue(uri, uri + "-too")


def not_spiffe(root, uri):
    return root.issue("https://cluster.local/ns/demo/sa/reviews")


def authority(root, uri):
    return root.issue(uri, ca=True)


def own_word(root, uri):
    return self_signed(uri)


def unknown(root, uri):
    return Authority("somebody").issue(uri)


def below_expired(root, uri):
    return Authority("between", within=root, since=-2 * DAY, lasts=-DAY).issue(uri)


def other_use(root, uri):
    return root.issue(uri, usages=(ExtendedKeyUsageOID.CODE_SIGNING,))


# Each with what the side that refuses says of it.
BAD = [
    (expired, "the certificate of {uri} expired 3"),
    (not_yet, "the certificate of {uri} is valid in 3"),
    (elsewhere, "is not of the trust domain cluster.local"),
    (nobody, "exactly one URI name, and the peer's certificate has 0: reviews.demo.svc.cluster.local"),
    (nameless, "exactly one URI name, and the peer's certificate has 0: nobody"),
    (two, "exactly one URI name, and the peer's certificate has 2: {uri}, {uri}-too"),
    (not_spiffe, "https://cluster.local/ns/demo/sa/reviews, which is no SPIFFE id"),
    (authority, "the certificate of {uri} is a CA's own"),
    (own_word, "the certificate of {uri} reaches none of our roots"),
    (unknown, "the certificate of {uri} reaches none of our roots"),
    (below_expired, "a certificate between {uri} and the root has expired"),
    (other_use, "the certificate of {uri} is refused"),
]
each = pytest.mark.parametrize(("make", "reason"), BAD, ids=[make.__name__ for make, _ in BAD])


@pytest.fixture
def bystanders(our_world, shop, reviews):
    """Good ends that go on, whatever happens beside them."""
    client, _, _ = our_world.pair(shop, reviews)
    hello(client)
    yield
    hello(client)


@each
def test_a_server_with_a_bad_certificate_is_not_called(our_world, bystanders, mesh_root, shop, make, reason):
    bad = as_identity(make(mesh_root, REVIEWS), REVIEWS, mesh_root.pem)
    client, _, _ = our_world.pair(shop, bad)
    refused(client, reason.format(uri=REVIEWS))
    refused(client, "127.0.0.1:", wait_for_ready=False)  # and says where


@each
def test_a_client_with_a_bad_certificate_is_not_let_in(our_world, bystanders, mesh_root, reviews, make, reason, caplog):
    bad = as_identity(make(mesh_root, SHOP), SHOP, mesh_root.pem)
    client, _, _ = our_world.pair(bad, reviews)
    answer = client.call("unary", request("Ann"))
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    until(lambda: reason.format(uri=SHOP) in caplog.text, "the server does not say why")
    assert "connection from ipv4:127.0.0.1:" in caplog.text


def test_another_service_than_the_one_that_was_called_is_not_called(our_world, mesh_root, shop, reviews):
    only = UpstreamTls(sni=WHO_DIALS.sni, subject_alt_names=(rule("spiffe://cluster.local/ns/demo/sa/rates"),))
    client, _, _ = our_world.pair(shop, reviews, tls=only)
    refused(client, f"the peer is {REVIEWS}, expected was spiffe://cluster.local/ns/demo/sa/rates")


def test_names_that_are_expected_are_enough_whatever_the_trust_domain(our_world, mesh_root, shop):
    federated = mesh_root.identity(EVIL)
    client, _, _ = our_world.pair(shop, federated, tls=UpstreamTls(sni="x.y", subject_alt_names=(rule(EVIL),)))
    hello(client)


def test_an_alias_of_the_trust_domain_is_as_good(our_world, mesh_root, reviews):
    shop = mesh_root.identity(SHOP, trust_domains=(TRUST_DOMAIN, "evil.example"))
    client, _, _ = our_world.pair(shop, mesh_root.identity(EVIL))
    hello(client)


def test_an_expired_root_vouches_for_nobody(our_world, shop):
    old = Authority("the mesh", since=-3 * DAY, lasts=-DAY)
    leaf = old.issue(REVIEWS)
    knows_both = as_identity(leaf, REVIEWS, old.pem)
    client, _, _ = our_world.pair(
        as_identity(Authority().issue(SHOP), SHOP, old.pem + Authority("another").pem), knows_both
    )
    refused(client, f"the certificate of {REVIEWS} reaches none of our roots")


def test_a_root_bundle_without_a_single_good_certificate_refuses_and_says_so(our_world, mesh_root, reviews):
    shop = as_identity(mesh_root.issue(SHOP), SHOP, b"")
    client, _, _ = our_world.pair(shop, reviews)
    refused(client, "none of the 0 root certificates can be used")


def test_intermediates_lead_to_the_root(our_world, mesh_root, shop):
    between = Authority("istiod 2", within=Authority("istiod 1", within=mesh_root))
    client, _, _ = our_world.pair(shop, as_identity(between.issue(REVIEWS), REVIEWS, mesh_root.pem))
    hello(client)


def test_a_client_without_a_certificate_is_not_let_in(our_world, mesh_root, reviews, caplog):
    client, _, _ = our_world.pair(mesh_root.identity(SHOP), reviews, tls=UpstreamTls(sni="x.y", certificate=None))
    refused(client, "the peer wants a client certificate, and we showed none")
    until(lambda: "connection from" in caplog.text)


def test_a_server_that_only_looks_at_certificates_that_are_shown_refuses_a_bad_one(our_world, mesh_root, reviews):
    optional = strict(DownstreamTls(require_client_certificate=False))
    unshown = UpstreamTls(sni="x.y", certificate=None)
    hello(our_world.pair(mesh_root.identity(SHOP), reviews, optional, tls=unshown)[0])
    bad = as_identity(self_signed(SHOP), SHOP, mesh_root.pem)
    refused(our_world.pair(bad, reviews, optional)[0], "it does not know our CA")


def test_a_long_wait_for_a_clock_is_named(our_world, mesh_root, shop):
    """Clocks that are minutes apart: the message says which certificate, by how much, and what to look at."""
    late = as_identity(mesh_root.issue(REVIEWS, starts=timedelta(minutes=5)), REVIEWS, mesh_root.pem)
    refused(our_world.pair(shop, late)[0], "is a clock off?")


def test_a_mesh_without_identities_calls_nobody_over_tls(our_world, reviews):
    address = our_world.serve_in(Mesh(reviews), strict())
    client = our_world.call_from(Mesh(plaintext=True), address)
    refused(client, "must be called over mutual TLS", "PROXYLESS_SECURITY=tls")


def test_a_second_uri_name_that_is_no_text_is_a_second_name(our_world, mesh_root, reviews, caplog):
    """One reader passes over it, another does not: whose identity that is must not depend on who looks."""
    good = mesh_root.issue(SHOP)
    key = serialization.load_pem_private_key(good.key, None)
    names = der_sequence(b"\x86" + bytes([len(SHOP)]) + SHOP.encode(), b"\x86\x0aspiffe://\xff")
    extension = x509.UnrecognizedExtension(x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names)
    leaf = mesh_root.sign(key, extension)
    identity = as_identity(leaf, SHOP, mesh_root.pem)
    address = our_world.serve_in(Mesh(reviews), strict())
    refused(our_world.call_from(Mesh(identity), address))
    until(lambda: "exactly one URI name, and the peer's certificate has 2" in caplog.text)


def der_sequence(*elements):
    body = b"".join(elements)
    assert len(body) < 0x80
    return b"\x30" + bytes([len(body)]) + body
