"""What a CA, a token or a clock can do to us: each is a clear error, and the certificate there is stays in use."""

from __future__ import annotations

import socket
from datetime import timedelta

import grpc
import pytest

from tests.xds_client.identity.authority import SPIFFE_ID, Authority, new_key, pem

HOUR = timedelta(hours=1)


def chain(ca, leaf, *more):
    return [pem(leaf).decode(), *(pem(certificate).decode() for certificate in more or [ca.authority.certificate])]


def intermediate_left_out(ca, asked):
    return chain(ca, Authority("between", ca.authority).issue(asked.csr.public_key(), SPIFFE_ID))


BAD_ANSWERS = {
    "garbage": (lambda ca, asked: b"\x0a\xff", "bytes of garbage"),
    "nothing": (lambda ca, asked: [], "without a certificate"),
    "no PEM": (lambda ca, asked: ["hello"], "no PEM certificates"),
    "a broken certificate": (lambda ca, asked: [ca.sign(asked)[0].replace("MII", "AAA")], "no PEM certificates"),
    "another key's": (lambda ca, asked: chain(ca, ca.authority.issue(new_key(), SPIFFE_ID)), "for another key"),
    "of no name": (lambda ca, asked: chain(ca, ca.authority.issue(asked.csr.public_key())), "0 URI SANs"),
    "of two names": (lambda ca, asked: chain(ca, ca.leaf(asked, SPIFFE_ID, SPIFFE_ID + "2")), "2 URI SANs"),
    "of a web site": (lambda ca, asked: chain(ca, ca.leaf(asked, "https://shop")), "is not spiffe://trust-domain/path"),
    "of a trust domain alone": (lambda ca, asked: chain(ca, ca.leaf(asked, "spiffe://a/")), "is not spiffe://trust"),
    "a CA's": (lambda ca, asked: chain(ca, ca.leaf(asked, ca=True)), "CA:TRUE"),
    "of another namespace": (
        lambda ca, asked: chain(ca, ca.leaf(asked, "spiffe://cluster.local/ns/prod/sa/shop")),
        "not the one expected, spiffe://cluster.local/ns/demo/sa/shop",
    ),
    "of another account": (
        lambda ca, asked: chain(ca, ca.leaf(asked, "spiffe://cluster.local/ns/demo/sa/till")),
        "PROXYLESS_SERVICE_ACCOUNT",
    ),
    "of another trust domain": (
        lambda ca, asked: chain(ca, ca.leaf(asked, "spiffe://other/ns/demo/sa/shop")),
        "of trust domain 'other', and ours is 'cluster.local'",
    ),
    "of a form that Istio does not give": (
        lambda ca, asked: chain(ca, ca.leaf(asked, "spiffe://cluster.local/shop")),
        "is none that Istio gives",
    ),
    "of an unknown issuer": (
        lambda ca, asked: [pem(Authority("evil").issue(asked.csr.public_key(), SPIFFE_ID)).decode()],
        "does not lead to a trusted root: its chain of 1 ends with one issued by 'O=evil'",
    ),
    "without its intermediate": (intermediate_left_out, "does not lead to a trusted root: its chain of 2"),
    "expired": (
        lambda ca, asked: chain(ca, ca.leaf(asked, not_before=ca._now() - 2 * HOUR, not_after=ca._now() - HOUR)),
        "expired at",
    ),
    "not yet valid": (
        lambda ca, asked: chain(ca, ca.leaf(asked, not_before=ca._now() + HOUR, not_after=ca._now() + 2 * HOUR)),
        "is not valid before",
    ),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS)
@pytest.mark.parametrize("held", [False, True], ids=["first", "renewal"])
def test_what_the_ca_answers_is_judged(pod, start_ca, bad, held):
    answer, reason = BAD_ANSWERS[bad]
    ca = start_ca()
    source = pod.source(ca.address, trust_domain="cluster.local")
    if held:
        source.step()
    before = source.current
    ca.answer = lambda asked: answer(ca, asked)
    pod.pass_time(source, 1800)
    assert len(ca.asked) > held
    assert source.current is before
    assert reason in source.error
    who = SPIFFE_ID if held else "spiffe://cluster.local/ns/demo/sa/shop"
    assert f"no certificate for {who}: " in source.error
    ca.answer = ca.sign
    pod.pass_time(source, 40)
    assert source.error is None
    assert source.current is not before


def test_a_chain_of_one_is_enough_if_the_mesh_root_signed_it(pod, start_ca):
    ca = start_ca()
    ca.answer = lambda asked: ca.sign(asked)[:1]
    source = pod.source(ca.address)
    source.step()
    assert source.current.spiffe_id == SPIFFE_ID


def test_intermediates_are_shown_to_peers(pod, start_ca, authority):
    between = Authority("between", authority)
    ca = start_ca()
    ca.answer = lambda asked: chain(
        ca, between.issue(asked.csr.public_key(), SPIFFE_ID), between.certificate, authority.certificate
    )
    source = pod.source(ca.address)
    source.step()
    assert source.current.certificate_chain.endswith(between.pem)
    assert source.current.roots == authority.pem


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda token: token.unlink(), "cannot be read: No such file or directory; mount a projected service account"),
        (lambda token: token.write_text(" \n"), "is empty; mount"),
        (lambda token: token.write_text("two words"), "is no token: it has characters that none has"),
        (lambda token: token.write_bytes(b"\xff\x00"), "is no token"),
    ],
    ids=["missing", "empty", "spaces", "binary"],
)
def test_a_token_that_is_none(pod, start_ca, spoil, reason):
    ca = start_ca()
    spoil(pod.token)
    source = pod.source(ca.address)
    source.step()
    assert f"token {pod.token} {reason}" in source.error
    assert ca.asked == []
    pod.token.write_text("good-token")
    pod.pass_time(source, 1)
    assert source.error is None


@pytest.mark.parametrize("ahead", [-300, 300], ids=["behind", "ahead"])
@pytest.mark.parametrize("ttl", ["60s", "24h"])
def test_a_clock_that_is_off_by_minutes_does_not_matter_and_is_told(pod, start_ca, time, caplog, ahead, ttl):
    """Of 60-second certificates, too: by this host's clock they expired long ago, or are not valid for long."""
    seconds = {"60s": 60.0, "24h": 86400.0}[ttl]
    ca = start_ca()
    time.skew = ahead
    source = pod.source(ca.address, certificate_ttl=seconds)
    source.step()
    assert source.current.spiffe_id == SPIFFE_ID
    assert (source.status.expires_in, source.status.renewal_in) == (seconds, seconds / 2)
    said = f"this host's clock is about 300 s {'ahead of' if ahead > 0 else 'behind'} the CA's"
    assert said in caplog.text
    assert said in source.status.warning
    pod.pass_time(source, seconds / 2)
    assert len(ca.asked) == 2


def test_a_clock_that_is_set_meanwhile_does_not_matter(pod, start_ca, time):
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    time.skew = -86400
    pod.pass_time(source, 1700)
    assert len(ca.asked) == 1
    assert source.status.expires_in == 3600 - 1700


@pytest.mark.parametrize(("ahead", "reason"), [(86400, "expired at"), (-86400, "is not valid before")])
def test_a_clock_that_is_off_by_a_day(pod, start_ca, time, ahead, reason):
    ca = start_ca()
    time.skew = ahead
    source = pod.source(ca.address)
    source.step()
    assert source.current is None
    assert reason in source.error
    assert "or set this host's clock" in source.error


def test_a_certificate_that_the_ca_had_in_stock_lives_as_long_as_it_says(pod, start_ca, time):
    ca = start_ca()
    ca.answer = lambda asked: chain(ca, ca.leaf(asked, not_before=ca._now() - 23 * HOUR, not_after=ca._now() + HOUR))
    source = pod.source(ca.address, certificate_ttl=86400.0)
    source.step()
    assert source.status.expires_in == 3600
    assert source.status.warning == ""


def test_a_ca_that_gives_less_than_it_is_asked_for(pod, start_ca, time):
    """A minute instead of a day, dated back by two: it is renewed in time."""
    ca = start_ca()
    ca.answer = lambda asked: chain(ca, ca.leaf(asked, not_after=ca._now() + timedelta(minutes=1)))
    source = pod.source(ca.address, certificate_ttl=86400.0)
    source.step()
    assert (source.status.expires_in, source.status.renewal_in) == (60, 30)
    time.skew = 300
    pod.pass_time(source, 30)
    assert source.status.expires_in == 180, "its dates make no sense here: as long as it can be"
    assert "300 s ahead" not in source.status.warning, "how far ahead is not known"


def test_a_ca_that_gives_next_to_nothing_is_not_asked_all_the_time(pod, start_ca):
    ca = start_ca()
    ca.answer = lambda asked: chain(ca, ca.leaf(asked, not_after=ca._now() + timedelta(seconds=1)))
    source = pod.source(ca.address)
    pod.pass_time(source, 10)
    assert len(ca.asked) == 11


def test_a_ca_of_another_mesh_is_not_asked_for_anything(pod, start_ca):
    ca = start_ca(authority=Authority("evil"))
    source = pod.source(ca.address)
    source.step()
    assert "CERTIFICATE_VERIFY_FAILED" in source.error
    assert f"is {pod.roots} the root of that mesh" in source.error
    assert ca.asked == []


def test_a_ca_of_another_name_is_not_asked_for_anything(pod, start_ca):
    ca = start_ca()
    source = pod.source(f"127.0.0.1:{ca.port}")
    source.step()
    assert "set PROXYLESS_SERVER_NAME" in source.error
    assert ca.asked == []
    source = pod.source(f"127.0.0.1:{ca.port}", server_name="istiod.istio-system.svc")
    source.step()
    assert source.current is not None


def test_a_ca_that_speaks_plaintext_is_told_nothing(pod, start_ca):
    ca = start_ca(plaintext=True)
    source = pod.source(ca.address)
    source.step()
    assert "does not speak TLS there; istiod does on port 15012" in source.error
    assert ca.asked == []


def test_nobody_there(pod):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    source = pod.source(f"localhost:{port}")
    source.step()
    assert "is istiod running, and can it be reached there?" in source.error


def test_a_ca_that_does_not_answer(pod, start_ca):
    ca = start_ca()
    ca.answer = ca.say_nothing
    source = pod.source(ca.address)
    source._signer._timeout = 0.2
    source.step()
    assert "DEADLINE_EXCEEDED" in source.error
    assert "is it overloaded?" in source.error


def test_something_else_listens_there(pod, start_ca):
    ca = start_ca()
    ca.refusal = (grpc.StatusCode.UNIMPLEMENTED, "unknown service")
    ca.tokens.clear()
    source = pod.source(ca.address)
    source.step()
    assert "it is no istiod, or none with a CA" in source.error
