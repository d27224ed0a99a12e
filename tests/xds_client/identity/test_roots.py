"""The mesh's roots: re-read, old and new together while they rotate, expired ones left out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.xds_client.identity.authority import Authority, certificate_of, pem
from xds_client import RootsError
from xds_client.identity.roots import RootsFile, read_roots

DAY = timedelta(days=1)


@pytest.fixture
def successor():
    return Authority("successor")


@pytest.fixture
def source(pod, start_ca):
    pod.ca = start_ca()
    source = pod.source(pod.ca.address)
    source.step()
    return source


def test_a_root_that_is_added_is_heard_of_within_seconds_and_the_certificate_stays(pod, source, authority, successor):
    heard = []
    source.observe(heard.append)
    pod.roots.write_bytes(authority.pem + successor.pem)
    pod.pass_time(source, 5)
    [before, now] = heard
    assert now is source.current
    assert now.roots == authority.pem + successor.pem
    assert now.certificate_chain == before.certificate_chain
    assert len(pod.ca.asked) == 1
    assert source.status.expires_in == 3600 - 5, "roots do not prolong a certificate's life"


def test_a_root_that_is_replaced_stays_while_a_certificate_from_it_could_be_in_use(
    pod, source, authority, successor, start_ca
):
    """The hard way, from one root to the other with no time between: the certificate is renewed at once."""
    pod.ca.stop()
    new = start_ca(port=pod.ca.port, authority=successor)
    pod.roots.write_bytes(successor.pem)
    pod.pass_time(source, 5)
    assert len(new.asked) == 1, "not at half its life: its root is not the mesh's any more"
    assert source.current.roots == successor.pem + authority.pem
    pod.pass_time(source, 3500)
    assert source.current.roots == successor.pem + authority.pem
    pod.pass_time(source, 100)
    assert source.current.roots == successor.pem


def test_a_ca_that_rotates_before_the_file_does(pod, source, authority, successor):
    """Its new root comes at the end of the chain, over a connection that the old one vouches for."""
    pod.ca.answer = lambda asked: [
        pem(successor.issue(asked.csr.public_key(), pod.ca.spiffe_id)).decode(),
        successor.pem.decode(),
    ]
    pod.pass_time(source, 1800)
    assert source.error is None
    assert source.current.roots == authority.pem + successor.pem


def test_a_root_that_the_ca_does_not_send_is_missed_all_the_same(pod, start_ca, authority, successor):
    """A chain of one: which root it leads to is found out."""
    ca = start_ca()
    ca.answer = lambda asked: ca.sign(asked)[:1]
    source = pod.source(ca.address)
    source.step()
    pod.roots.write_bytes(successor.pem + authority.pem)
    pod.pass_time(source, 5)
    assert len(ca.asked) == 1
    ca.stop()
    new = start_ca(port=ca.port, authority=successor)
    pod.roots.write_bytes(successor.pem)
    pod.pass_time(source, 5)
    assert len(new.asked) == 1
    assert source.current.roots == successor.pem + authority.pem, "peers may still show certificates from it"
    pod.pass_time(source, 3600)
    assert source.current.roots == successor.pem


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("file_knows", [True, False])
def test_a_ca_sends_a_bundle_of_roots(pod, source, authority, successor, newest_first, file_knows):
    """istiod's root-cert.pem with the old and the new root, in either order, whichever the leaf is from."""
    both = [successor, authority] if newest_first else [authority, successor]
    if not file_knows:
        pod.roots.write_bytes(Authority("unrelated").pem)
    issuer = successor
    pod.ca.answer = lambda asked: [
        pem(issuer.issue(asked.csr.public_key(), pod.ca.spiffe_id)).decode(),
        "".join(root.pem.decode() for root in both),
    ]
    pod.pass_time(source, 1800)
    assert source.error is None
    assert certificate_of(source.current.certificate_chain).issuer == successor.name
    for root in both:
        assert root.pem in source.current.roots


def test_a_plugged_in_ca_sends_its_intermediates_and_its_root_twice(pod, source, authority, successor):
    """The chain file of a plugged-in CA often ends in the root, and root-cert.pem follows it."""
    intermediate = Authority("intermediate", parent=successor)
    pod.ca.answer = lambda asked: [
        pem(intermediate.issue(asked.csr.public_key(), pod.ca.spiffe_id)).decode(),
        pem(intermediate.certificate, successor.certificate).decode(),
        pem(successor.certificate, authority.certificate).decode(),
    ]
    pod.pass_time(source, 1800)
    assert source.error is None
    assert source.current.roots == authority.pem + successor.pem
    assert source.current.certificate_chain.endswith(intermediate.pem), "roots are not shown to peers"


def test_an_intermediate_at_the_end_is_no_root(pod, source, authority, successor):
    """A chain without its root leads to one of the file, or nowhere."""
    ours, foreign = Authority("ours", parent=authority), Authority("foreign", parent=successor)
    for intermediate, error in [(foreign, "does not lead to a trusted root"), (ours, None)]:
        pod.ca.answer = lambda asked, by=intermediate: [
            pem(by.issue(asked.csr.public_key(), pod.ca.spiffe_id)).decode(),
            by.pem.decode(),
        ]
        pod.pass_time(source, 1800)
        assert source.error is None if error is None else error in source.error
        assert source.current.roots == authority.pem


def test_a_self_signed_certificate_before_the_end_is_not_trusted(pod, source, authority, successor):
    pod.ca.answer = lambda asked: [
        pem(authority.issue(asked.csr.public_key(), pod.ca.spiffe_id)).decode(),
        successor.pem.decode(),
        pem(Authority("intermediate", parent=authority).certificate).decode(),
    ]
    pod.pass_time(source, 1800)
    assert source.current.roots == authority.pem


def test_the_file_rotates_and_the_ca_does_not_yet(pod, source, authority, successor):
    """The file names a root that nobody uses yet; the certificate is renewed once, not for ever."""
    pod.roots.write_bytes(successor.pem)
    pod.pass_time(source, 60)
    assert source.current.roots == successor.pem + authority.pem
    assert len(pod.ca.asked) == 2


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\ntorn"], ids=["gone", "empty", "torn"])
def test_a_file_that_breaks_changes_nothing(pod, source, authority, successor, content, caplog):
    before = source.current
    pod.roots.unlink() if content is None else pod.roots.write_bytes(content)
    pod.pass_time(source, 60)
    assert source.current is before
    assert caplog.text.count("the roots read before stay in use") == 1
    pod.roots.write_bytes(authority.pem + successor.pem)
    pod.pass_time(source, 5)
    assert source.current.roots == authority.pem + successor.pem


def test_a_broken_file_does_not_keep_a_certificate_from_being_renewed(pod, source):
    pod.roots.unlink()
    pod.pass_time(source, 1800)
    assert len(pod.ca.asked) == 2
    assert source.error is None


def test_without_roots_nobody_is_asked(pod, start_ca):
    ca = start_ca()
    pod.roots.unlink()
    source = pod.source(ca.address)
    source.step()
    assert f"mesh root file {pod.roots} cannot be read: No such file or directory" in source.error
    assert "istio-ca-root-cert" in source.error
    assert ca.asked == []


def test_more_roots(pod, start_ca, authority, successor, tmp_path):
    more = tmp_path / "more.pem"
    more.write_bytes(successor.pem)
    source = pod.source(start_ca().address, extra_roots_path=str(more))
    source.step()
    assert source.current.roots == authority.pem + successor.pem


def test_more_roots_that_are_not_there(pod, start_ca, tmp_path):
    source = pod.source(start_ca().address, extra_roots_path=str(tmp_path / "none"))
    source.step()
    assert f"roots file {tmp_path / 'none'} cannot be read" in source.error
    assert "unset PROXYLESS_EXTRA_ROOTS_PATH" in source.error


def test_expired_roots_are_left_out(authority, time):
    old = Authority("old", not_before=time.true() - 9 * DAY, not_after=time.true() - DAY)
    bundle = old.pem + authority.pem + authority.pem
    assert read_roots(bundle, "bundle", time.true()) == (authority.certificate,)
    with pytest.raises(RootsError, match=r"bundle has only expired roots, the last one 'O=old' until"):
        read_roots(old.pem, "bundle", time.true())


def test_a_root_that_expires_meanwhile_is_left_out(pod, start_ca, authority, time):
    old = Authority("old", not_after=time.true() + timedelta(minutes=10))
    pod.roots.write_bytes(old.pem + authority.pem)
    source = pod.source(start_ca().address)
    source.step()
    assert source.current.roots == old.pem + authority.pem
    pod.pass_time(source, 606)
    assert source.current.roots == authority.pem


def test_a_file_that_is_no_bundle(tmp_path, time):
    path = tmp_path / "roots"
    path.write_text("hello")
    with pytest.raises(RootsError, match=f"{path} is no PEM bundle of certificates"):
        RootsFile(str(path)).read(time.true())
