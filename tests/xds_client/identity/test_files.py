"""An identity from files that somebody else writes: taken when they fit together, and not before."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.xds_client.identity.authority import SPIFFE_ID, Authority, new_key, pem, private_pem

HOUR = timedelta(hours=1)


class Files:
    def __init__(self, folder, pod, authority):
        self.certificate, self.key, self.pod, self.authority = folder / "cert.pem", folder / "key.pem", pod, authority

    def write(self, key=None, **options):
        key = key or new_key()
        self.certificate.write_bytes(pem(self.authority.issue(key, SPIFFE_ID, **options)))
        self.key.write_bytes(private_pem(key))

    def source(self, **settings):
        paths = {"certificate_path": str(self.certificate), "private_key_path": str(self.key)}
        return self.pod.source("", source="files", **paths | settings)


@pytest.fixture
def files(tmp_path, pod, authority):
    files = Files(tmp_path, pod, authority)
    files.write()
    return files


def test_what_is_there(files, authority):
    source = files.source()
    source.step()
    identity = source.current
    assert identity.spiffe_id == SPIFFE_ID
    assert identity.private_key == files.key.read_bytes()
    assert identity.certificate_chain == files.certificate.read_bytes()
    assert identity.roots == authority.pem
    assert source.error is None


def test_a_change_is_heard_of_and_the_same_again_is_no_news(files, pod):
    source, heard = files.source(), []
    source.observe(heard.append)
    pod.pass_time(source, 60)
    files.write()
    pod.pass_time(source, 60)
    assert [identity.private_key == files.key.read_bytes() for identity in heard] == [False, True]


def test_roots_alone(files, pod, authority):
    source, heard = files.source(), []
    source.observe(heard.append)
    source.step()
    successor = Authority("successor")
    pod.roots.write_bytes(authority.pem + successor.pem)
    pod.pass_time(source, 5)
    assert [identity.roots for identity in heard] == [authority.pem, authority.pem + successor.pem]


def test_a_torn_pair_is_left_alone_until_it_is_whole(files, pod, authority):
    source = files.source()
    source.step()
    before = source.current
    key = new_key()
    files.certificate.write_bytes(pem(authority.issue(key, SPIFFE_ID)))
    pod.pass_time(source, 60)
    assert source.current is before
    assert "is for another key than the one it comes with" in source.error
    files.key.write_bytes(private_pem(key))
    pod.pass_time(source, 1)
    assert source.current.private_key == private_pem(key)
    assert source.error is None


def test_a_pair_that_is_put_back_is_no_error_any_more(files, pod):
    source = files.source()
    source.step()
    key = files.key.read_bytes()
    files.key.write_bytes(b"")
    pod.pass_time(source, 10)
    assert f"private key file {files.key}: no private key in PEM" in source.error
    files.key.write_bytes(key)
    pod.pass_time(source, 10)
    assert source.error is None


def test_a_complaint_is_logged_once(files, pod, caplog):
    files.certificate.unlink()
    source = files.source()
    pod.pass_time(source, 60)
    assert len(caplog.records) == 1
    assert f"certificate file {files.certificate} cannot be read: No such file or directory; mount it" in caplog.text


def test_an_expired_certificate_is_none(files, pod, time):
    files.write(not_before=time.true() - 2 * HOUR, not_after=time.true() - HOUR)
    source = files.source()
    source.step()
    assert source.current is None
    assert "expired at" in source.error


def test_one_that_nobody_renews_expires(files, pod, time):
    files.write(not_after=time.true() + HOUR)
    source = files.source()
    pod.pass_time(source, 3599)
    assert source.current is not None
    time.passed += 1
    assert source.current is None
    assert f"the certificate of {SPIFFE_ID} has expired" in source.error
    source.step()
    assert "have it renewed, or set this host's clock" in source.error


def test_a_clock_that_is_set_is_believed(files, pod, time):
    files.write(not_after=time.true() + HOUR)
    source, heard = files.source(), []
    source.observe(heard.append)
    source.step()
    time.skew = 1800
    pod.pass_time(source, 5)
    assert source.status.expires_in == pytest.approx(1795)
    time.skew = 86400
    pod.pass_time(source, 1800)
    assert source.current is None
    late = []
    source.observe(late.append)
    assert late == []
    time.skew = 0
    pod.pass_time(source, 5)
    assert source.current is heard[0]
    assert source.error is None
    assert late == [heard[0]]


def test_the_trust_domain_is_checked_and_the_rest_of_the_name_is_not(files):
    """Who mounts certificates may name workloads as they like; who says the trust domain means it."""
    source = files.source(trust_domain="other", trust_domain_aliases=("another",))
    source.step()
    assert "of trust domain 'cluster.local', and ours is 'other'" in source.error
    source = files.source(trust_domain="other", trust_domain_aliases=("cluster.local",))
    source.step()
    assert source.current.trust_domains == ("cluster.local", "other")


def test_a_key_with_a_password_is_none(files):
    files.key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n")
    source = files.source()
    source.step()
    assert "no private key in PEM without a password" in source.error
