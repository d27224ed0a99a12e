"""A certificate from istiod's CA: how it is asked for, when it is renewed, what a failure does. Over real gRPC."""

from __future__ import annotations

import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from tests.xds_client.identity.authority import SPIFFE_ID, certificate_of
from xds_client import IdentityError, IdentityTimeoutError


def test_the_first_step_brings_an_identity(pod, start_ca, time, authority):
    ca = start_ca()
    source = pod.source(ca.address)
    assert source.current is None
    assert source.error == f"istiod's CA at {ca.address} has not answered yet"
    assert source.step() == 5.0, "then the roots are looked at"
    identity = source.current
    assert source.error is None
    assert identity.spiffe_id == SPIFFE_ID
    assert identity.trust_domains == ("cluster.local",)
    assert identity.roots == authority.pem
    assert identity.certificate_chain.count(b"BEGIN CERTIFICATE") == 1, "the root is no part of what is shown"
    assert (identity.not_after - time.true()).total_seconds() == 3600
    assert (source.status.expires_in, source.status.renewal_in) == (3600, 1800)


def test_what_the_ca_is_asked(pod, start_ca):
    ca = start_ca()
    pod.source(ca.address).step()
    [asked] = ca.asked
    assert asked.metadata["authorization"] == "Bearer good-token"
    assert asked.metadata["clusterid"] == "east"
    assert asked.seconds == 3600
    assert isinstance(asked.csr.public_key().curve, ec.SECP256R1)
    names = asked.csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [SPIFFE_ID], "istio-csr wants it"


def test_it_is_renewed_at_half_its_life_with_a_key_of_its_own(pod, start_ca):
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    first = source.current
    pod.pass_time(source, 1799)
    assert (len(ca.asked), source.current) == (1, first)
    pod.pass_time(source, 1)
    assert len(ca.asked) == 2
    assert source.current.private_key != first.private_key
    assert certificate_of(source.current.certificate_chain).public_key() == ca.asked[1].csr.public_key()
    pod.pass_time(source, 24 * 3600)
    assert len(ca.asked) == 2 + 48


@pytest.mark.parametrize(("jitter", "due"), [(-1, 1764), (1, 1836)])
def test_renewals_of_a_fleet_are_spread_by_a_hundredth_of_the_life(pod, start_ca, time, jitter, due):
    time.jitter = jitter
    source = pod.source(start_ca().address)
    source.step()
    assert source.status.renewal_in == pytest.approx(due)


def test_observers_hear_of_every_certificate(pod, start_ca):
    source = pod.source(start_ca().address)
    early, late = [], []
    source.observe(early.append)
    source.step()
    handle = source.observe(late.append)
    assert early == late == [source.current]
    pod.pass_time(source, 1800)
    assert early == late
    assert [identity is source.current for identity in early] == [False, True]
    handle.close()
    pod.pass_time(source, 1800)
    assert (len(early), len(late)) == (3, 2)


def test_failures_are_repeated_quickly_and_then_ever_slower_and_for_ever(pod, start_ca):
    ca = start_ca()
    ca.tokens.clear()
    source = pod.source(ca.address)
    delays = []
    for _ in range(11):
        source.step()
        delays.append(source.status.renewal_in)
        pod.time.passed += delays[-1]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])
    assert len(ca.asked) == 11
    ca.tokens.add("good-token")
    source.step()
    assert source.current is not None
    assert source.error is None


def test_a_few_failures_are_told_and_not_all(pod, start_ca, caplog):
    ca = start_ca()
    ca.tokens.clear()
    source = pod.source(ca.address)
    pod.pass_time(source, 300)
    said = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(ca.asked) >= 16
    assert len(said) == len(ca.asked).bit_length(), "1, 2, 4, 8, ..."
    for part in ("spiffe://*/ns/demo/sa/shop", ca.address, "request authenticate failure", "attempt 2 in 0.1 s"):
        assert part in said[0].getMessage()


def test_the_old_certificate_is_used_until_it_expires_and_then_none(pod, start_ca):
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    first = source.current
    until = first.not_after.isoformat(timespec="seconds")
    ca.tokens.clear()
    pod.pass_time(source, 3599)
    assert source.current is first
    assert f"the certificate of {SPIFFE_ID} until {until} stays in use" in source.error
    assert "UNAUTHENTICATED" in source.error
    pod.time.passed += 1
    assert source.current is None, "by the clock alone, even if nobody steps"
    assert source.error.startswith(f"the certificate of {SPIFFE_ID} has expired (it was dated until {until})")
    assert "UNAUTHENTICATED" in source.error
    heard = []
    source.observe(heard.append)
    assert heard == []
    ca.tokens.add("good-token")
    pod.pass_time(source, 40)
    assert heard == [source.current]
    assert source.error is None


def test_the_token_is_read_anew_for_every_attempt(pod, start_ca):
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    ca.tokens = {"next-token"}
    pod.token.write_text("next-token\n")
    pod.pass_time(source, 1800)
    assert [asked.metadata["authorization"] for asked in ca.asked] == ["Bearer good-token", "Bearer next-token"]


@pytest.mark.parametrize("token", [None, "", "expired-token"])
def test_a_certificate_renews_itself_when_the_token_cannot(pod, start_ca, token):
    """The CA of this test takes certificates only; one that takes both, and refuses the token, is in e2e."""
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    first = source.current
    ca.stop()
    ca = start_ca(port=ca.port, by_certificate=True)
    pod.token.unlink() if token is None else pod.token.write_text(token)
    pod.pass_time(source, 1800)
    assert source.error is None
    [asked] = ca.asked
    assert "authorization" not in asked.metadata
    assert certificate_of(asked.peer) == certificate_of(first.certificate_chain)
    assert certificate_of(source.current.certificate_chain).public_key() == asked.csr.public_key()


def test_an_expired_certificate_is_no_proof(pod, start_ca):
    ca = start_ca()
    source = pod.source(ca.address)
    source.step()
    ca.stop()
    ca = start_ca(port=ca.port, by_certificate=True)
    pod.token.unlink()
    pod.time.passed += 3600
    source.step()
    assert ca.asked == []
    assert f"token {pod.token} cannot be read" in source.error


def test_waiting_for_an_identity(pod, start_ca):
    ca = start_ca()
    with pod.source(ca.address) as source:
        assert source.wait(30).spiffe_id == SPIFFE_ID


def test_waiting_in_vain_says_why(pod, start_ca):
    ca = start_ca()
    ca.tokens.clear()
    source = pod.source(ca.address)
    source.step()
    with pytest.raises(IdentityTimeoutError, match=r"no mesh identity within 0 s: .* request authenticate failure"):
        source.wait(0)
    assert issubclass(IdentityTimeoutError, TimeoutError)


def test_closing_ends_a_request_that_nobody_answers(pod, start_ca):
    ca = start_ca()
    asked = threading.Event()

    def answer(_):
        asked.set()
        return ca.say_nothing(_)

    ca.answer = answer
    source = pod.source(ca.address).start()
    assert asked.wait(30)
    source.close()
    source.close()
    source._thread.join(30)
    assert not source._thread.is_alive()
    with pytest.raises(IdentityError, match="is closed"):
        source.wait(60)
