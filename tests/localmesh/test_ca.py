"""The certificate authority and its tokens, without a network. What it signs is as istiod's is."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localmesh import LocalMeshError
from localmesh.ca import CertificateAuthority, SigningError, TokenIssuer, TokenRefused
from localmesh.ca.authority import KeyPair, go_duration
from localmesh.ca.bundle import BundleError, load_bundle, new_bundle, save_bundle
from localmesh.ca.leaf import issue
from tests.localmesh.secure_client import WEB, csr, new_key


@pytest.fixture(scope="module")
def authority():
    return CertificateAuthority()


def signed(authority, key=None, **more):
    return x509.load_pem_x509_certificate(authority.sign(csr(key or new_key()), [WEB], **more))


def test_a_leaf_is_what_istiod_makes(authority):
    key = new_key()
    leaf = signed(authority, key)
    get = leaf.extensions.get_extension_for_class
    assert leaf.public_key() == key.public_key()
    names = get(x509.SubjectAlternativeName)
    assert (names.critical, list(names.value)) == (True, [x509.UniformResourceIdentifier(WEB)])
    assert list(leaf.subject) == []
    assert get(x509.BasicConstraints) == x509.Extension(
        x509.BasicConstraints.oid, critical=True, value=x509.BasicConstraints(ca=False, path_length=None)
    )
    usage = get(x509.KeyUsage)
    assert (usage.critical, usage.value.digital_signature, usage.value.key_encipherment) == (True, True, True)
    assert not usage.value.key_cert_sign
    assert list(get(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    (root,) = x509.load_pem_x509_certificates(authority.root_certificates)
    leaf.verify_directly_issued_by(root)


def test_it_is_backdated_by_two_minutes_and_lasts_as_long_as_asked(authority):
    before = datetime.now(UTC).replace(microsecond=0)
    leaf = signed(authority, lifetime=timedelta(seconds=60))
    after = datetime.now(UTC)
    assert before - timedelta(minutes=2) <= leaf.not_valid_before_utc <= after - timedelta(minutes=2)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=3)


@pytest.mark.parametrize("lifetime", [None, timedelta(0), timedelta(seconds=-5)])
def test_a_day_is_the_default(authority, lifetime):
    leaf = signed(authority, lifetime=lifetime)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(hours=24, minutes=2)


def test_ninety_days_are_the_most(authority):
    leaf = signed(authority, lifetime=timedelta(days=90))
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=90, minutes=2)
    with pytest.raises(SigningError, match="requested TTL 2160h0m1s is greater than the max allowed TTL 2160h0m0s"):
        signed(authority, lifetime=timedelta(days=90, seconds=1))


@pytest.mark.parametrize(("seconds", "text"), [(5, "5s"), (65, "1m5s"), (3600, "1h0m0s"), (7_776_000, "2160h0m0s")])
def test_durations_are_printed_as_go_does(seconds, text):
    assert go_duration(timedelta(seconds=seconds)) == text


def test_a_common_name_is_answered_with_the_identity(authority):
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "web")]
    leaf = x509.load_pem_x509_certificate(authority.sign(csr(new_key(), subject), [WEB]))
    assert [attribute.value for attribute in leaf.subject] == [WEB]
    long = f"{WEB}{'x' * 64}"
    leaf = x509.load_pem_x509_certificate(authority.sign(csr(new_key(), subject), [long]))
    assert list(leaf.subject) == []


def test_rsa_keys_are_certified_too(authority):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert signed(authority, key).public_key() == key.public_key()


def broken_signature():
    body = base64.b64decode("".join(csr(new_key()).decode().splitlines()[1:-1]))
    flipped = base64.encodebytes(body[:-1] + bytes([body[-1] ^ 1])).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{flipped}-----END CERTIFICATE REQUEST-----\n".encode()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (b"", "certificate signing request is not properly encoded"),
        (b"\xff\x00nonsense", "certificate signing request is not properly encoded"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "failed to parse X.509"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n", "failed to parse X.509"),
        (broken_signature(), "signature"),
    ],
)
def test_garbage_is_the_clients_fault(authority, request_, reason):
    with pytest.raises(SigningError, match=reason) as caught:
        authority.sign(request_, [WEB])
    assert caught.value.is_clients_fault


def test_no_leaf_outlives_its_signer():
    bundle = new_bundle("cluster.local")
    leaf = issue(bundle, new_key().public_key(), [WEB], timedelta(days=9999))
    assert leaf.not_valid_after_utc == bundle.certificate.not_valid_after_utc


def test_a_root_is_made_once_and_kept(tmp_path):
    first, second = CertificateAuthority(tmp_path / "ca"), CertificateAuthority(tmp_path / "ca")
    assert first.root_certificates == second.root_certificates == (tmp_path / "ca" / "root-cert.pem").read_bytes()
    assert (tmp_path / "ca" / "ca-key.pem").stat().st_mode & 0o077 == 0
    assert signed(second).issuer == x509.load_pem_x509_certificate(first.root_certificates).subject
    assert "key" not in repr(load_bundle(tmp_path / "ca"))


def test_a_folder_that_does_not_fit_together_is_refused(tmp_path):
    save_bundle(tmp_path, new_bundle("a"))
    save_bundle(tmp_path / "other", new_bundle("b"))
    key, certificate = tmp_path / "ca-key.pem", tmp_path / "ca-cert.pem"
    mine = key.read_bytes()
    key.write_bytes((tmp_path / "other" / "ca-key.pem").read_bytes())
    with pytest.raises(BundleError, match=r"the key of ca-key\.pem is not the one that ca-cert\.pem certifies"):
        CertificateAuthority(tmp_path)
    certificate.write_bytes((tmp_path / "other" / "ca-cert.pem").read_bytes())
    with pytest.raises(BundleError, match=r"signed by none of the roots in root-cert\.pem"):
        CertificateAuthority(tmp_path)
    key.write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="is no folder of a certificate authority"):
        CertificateAuthority(tmp_path)
    key.write_bytes(mine)
    leaf = CertificateAuthority(tmp_path / "other").key_pair([WEB])
    key.write_bytes(leaf.key)
    certificate.write_bytes(leaf.chain)
    with pytest.raises(BundleError, match="may not sign others"):
        CertificateAuthority(tmp_path)


def roots(authority):
    return x509.load_pem_x509_certificates(authority.root_certificates)


@pytest.mark.parametrize("kept", [True, False])
def test_a_root_is_replaced_in_three_steps(tmp_path, kept):
    authority = CertificateAuthority(tmp_path if kept else None)
    told = []
    authority.observe(lambda: told.append(len(roots(authority))))
    (old,) = roots(authority)
    with pytest.raises(LocalMeshError, match="introduce_root"):
        authority.switch_root()
    authority.introduce_root()
    assert roots(authority)[0] == old
    signed(authority).verify_directly_issued_by(old)
    for impossible in (authority.introduce_root, authority.retire_roots):
        with pytest.raises(LocalMeshError, match="switch_root"):
            impossible()
    if kept:
        authority = CertificateAuthority(tmp_path)  # a restart half-way loses nothing
        authority.observe(lambda: told.append(len(roots(authority))))
    authority.switch_root()
    (_, new) = roots(authority)
    signed(authority).verify_directly_issued_by(new)
    authority.retire_roots()
    assert roots(authority) == [new]
    assert told == [2, 2, 1]
    if kept:
        assert roots(CertificateAuthority(tmp_path)) == [new]


def test_changed_files_are_taken_over_and_broken_ones_are_not(tmp_path, caplog):
    authority = CertificateAuthority(tmp_path)
    told = []
    authority.observe(lambda: told.append(authority.root_certificates))
    authority.reload()
    assert told == [], "nothing has changed"
    before = authority.root_certificates
    (tmp_path / "root-cert.pem").write_bytes(b"nonsense")
    authority.reload()
    assert (told, authority.root_certificates) == ([], before)
    assert "the certificate authority as it was goes on" in caplog.text
    save_bundle(tmp_path, new_bundle("new"))
    authority.reload()
    assert told == [(tmp_path / "root-cert.pem").read_bytes()]


@pytest.fixture(scope="module")
def tokens():
    return TokenIssuer()


def test_a_token_says_what_a_projected_one_says(tokens):
    token = tokens.mint("demo", "web")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["sub"], claims["aud"]) == ("system:serviceaccount:demo:web", ["istio-ca"])
    assert claims["exp"] - claims["iat"] == 43200
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "web"
    assert tokens.verify(token) == ("demo", "web")


def forged(tokens, header=None, **claims):
    """Signed with the right key, whatever it says."""
    body = tokens.mint("demo", "web").split(".")[1]
    return tokens.sign(json.loads(base64.urlsafe_b64decode(body + "==")) | claims, **(header or {}))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "token is expired"),
        ({"exp": None}, "exp must be there"),
        ({"exp": "later"}, "must be numbers"),
        ({"nbf": 9e9, "exp": 9e10}, "not valid yet"),
        ({"aud": ["kubernetes"]}, r"invalid audiences \['kubernetes'\]"),
        ({"aud": "istio-ca"}, "invalid audiences 'istio-ca'"),
        ({"aud": None}, "invalid audiences None"),
        ({"sub": "user:ada"}, "invalid sub 'user:ada'"),
        ({"sub": "system:serviceaccount:demo"}, "invalid sub"),
        ({"sub": "system:serviceaccount::web"}, "invalid sub"),
        ({"sub": 7}, "invalid sub 7"),
        ({"iss": "https://elsewhere"}, "issued by a different provider"),
        ({"header": {"alg": "none"}}, "unexpected signature algorithm 'none'"),
        ({"header": {"alg": "HS256"}}, "unexpected signature algorithm 'HS256'"),
    ],
)
def test_what_a_token_must_not_say(tokens, claims, reason):
    with pytest.raises(TokenRefused, match=reason):
        tokens.verify(forged(tokens, **claims))


def test_tokens_that_are_none(tokens):
    token = tokens.mint("demo", "web")
    head, body, signature = token.split(".")
    for garbage in ("", ".", "..", "a.b.c", f"{head}.{body}", f"{token}.{token}", f"{head}.{body}.AAAA", "\xff.\xff.é"):
        with pytest.raises(TokenRefused):
            tokens.verify(garbage)
    with pytest.raises(TokenRefused):
        tokens.verify(f"{base64.b64encode(b'[' * 100_000).decode().rstrip('=')}.{body}.{signature}")
    with pytest.raises(TokenRefused, match="must be objects"):
        tokens.verify(f"W10.{body}.{signature}")
    with pytest.raises(TokenRefused, match="failed to verify signature"):
        tokens.verify(TokenIssuer().mint("demo", "web"))


def test_the_key_of_the_tokens_is_kept(tmp_path):
    token = TokenIssuer(tmp_path).mint("demo", "web")
    assert TokenIssuer(tmp_path).verify(token) == ("demo", "web")
    assert (tmp_path / "token-key.pem").stat().st_mode & 0o077 == 0
    (tmp_path / "token-key.pem").write_bytes(b"nonsense")
    with pytest.raises(LocalMeshError, match=r"token-key\.pem is not a key that signs tokens"):
        TokenIssuer(tmp_path).mint("demo", "web")


def test_of_two_who_need_the_key_first_one_makes_it(tmp_path):
    issuers = [TokenIssuer(tmp_path) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        tokens = list(threads.map(lambda issuer: issuer.mint("demo", "web"), issuers))
    for issuer in issuers:
        assert {issuer.verify(token) for token in tokens} == {("demo", "web")}
    assert [path.name for path in tmp_path.iterdir()] == ["token-key.pem"]


def test_others_can_verify_by_the_key_set(tokens):
    (key,) = tokens.jwks["keys"]
    numbers = {name: int.from_bytes(base64.urlsafe_b64decode(key[name] + "==")) for name in ("n", "e")}
    assert rsa.RSAPublicNumbers(**numbers).public_key() == tokens._key.public_key()
    header = json.loads(base64.urlsafe_b64decode(tokens.mint("a", "b").split(".")[0] + "=="))
    assert header["kid"] == key["kid"]


def test_no_key_is_shown_with_what_holds_it():
    held = KeyPair(b"the chain", b"the secret")
    assert "secret" not in repr(held)
