"""Which keys are signed for, and what localmesh says of disks and folders that do not take its files."""

from __future__ import annotations

import errno
import os
import resource as limits
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from localmesh import LocalMesh, LocalMeshError
from localmesh.ca import CertificateAuthority, SigningError, TokenIssuer
from localmesh.ca.authority import MAX_REQUEST
from localmesh.ca.bundle import KEY, BundleError, load_bundle, new_bundle, save_bundle
from localmesh.ca.keys import weakness
from localmesh.serve.tls_port import TlsPort
from tests.localmesh.yaml_folder import SERVICE, write

WEB = "spiffe://cluster.local/ns/demo/sa/web"
SHA256 = hashes.SHA256()


def csr(key, algorithm=SHA256):
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, algorithm)
    return request.public_bytes(serialization.Encoding.PEM)


def rsa_key(bits, exponent=65537):
    return rsa.generate_private_key(public_exponent=exponent, key_size=bits)


GOOD = {
    "RSA 2048": (lambda: rsa_key(2048), SHA256),
    "RSA 3072, SHA-512": (lambda: rsa_key(3072), hashes.SHA512()),
    "P-256": (lambda: ec.generate_private_key(ec.SECP256R1()), SHA256),
    "P-384": (lambda: ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
    "P-521": (lambda: ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate, None),
}
WEAK = {
    "RSA 1024": (lambda: rsa_key(1024), SHA256, "an RSA key of 1024 bits is not taken, those of 2048 to 8192 are"),
    "RSA 2047": (lambda: rsa_key(2047), SHA256, "an RSA key of 2047 bits"),
    "DSA": (lambda: dsa.generate_private_key(2048), SHA256, "only RSA, EC and Ed25519"),
    "Ed448": (ed448.Ed448PrivateKey.generate, None, "only RSA, EC and Ed25519"),
    "P-224": (lambda: ec.generate_private_key(ec.SECP224R1()), SHA256, "the curve secp224r1 is not taken"),
    "P-192": (lambda: ec.generate_private_key(ec.SECP192R1()), SHA256, "the curve secp192r1 is not taken"),
    "secp256k1": (lambda: ec.generate_private_key(ec.SECP256K1()), SHA256, "the curve secp256k1 is not taken"),
    "brainpool": (lambda: ec.generate_private_key(ec.BrainpoolP256R1()), SHA256, "the curve brainpoolP256r1 is not"),
    "SHA-224": (lambda: rsa_key(2048), hashes.SHA224(), "the request is signed with sha224"),
    "SHA-3": (lambda: rsa_key(2048), hashes.SHA3_256(), "the request is signed with sha3-256"),
}


@pytest.mark.parametrize(("make", "algorithm"), GOOD.values(), ids=GOOD.keys())
def test_keys_that_every_member_takes_are_certified(make, algorithm):
    key = make()
    leaf = x509.load_pem_x509_certificate(CertificateAuthority().sign(csr(key, algorithm), [WEB]))
    assert leaf.public_key() == key.public_key()


@pytest.mark.parametrize(("make", "algorithm", "reason"), WEAK.values(), ids=WEAK.keys())
def test_weak_and_strange_keys_are_refused_by_name(make, algorithm, reason):
    with pytest.raises(SigningError, match=reason) as caught:
        CertificateAuthority().sign(csr(make(), algorithm), [WEB])
    assert caught.value.is_clients_fault


@pytest.mark.parametrize(("bits", "exponent"), [(16384, 65537), (2048, 1), (2048, 4), (2048, 2**2000 + 1)])
def test_numbers_that_make_verifying_dear_or_worthless_are_refused(bits, exponent):
    numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 1)

    class Key(rsa.RSAPublicKey):
        key_size = bits
        public_numbers = lambda _: numbers  # noqa: E731
        encrypt = verify = recover_data_from_signature = public_bytes = __eq__ = __copy__ = __deepcopy__ = None
        __hash__ = None

    assert "is not taken" in weakness(Key())


def test_a_request_of_a_megabyte_is_not_looked_into():
    padded = csr(ec.generate_private_key(ec.SECP256R1())) + b"\n" * MAX_REQUEST
    with pytest.raises(SigningError, match="not properly encoded"):
        CertificateAuthority().sign(padded, [WEB])


@pytest.mark.parametrize("make", [WEAK["RSA 1024"][0], WEAK["P-224"][0]])
def test_a_weak_root_does_not_sign(tmp_path, make):
    key, name = make(), x509.Name([])
    save_bundle(tmp_path, new_bundle("a"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256)
    )
    for file in ("ca-cert.pem", "root-cert.pem", "cert-chain.pem"):
        (tmp_path / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / KEY).write_bytes(pem(key))
    with pytest.raises(BundleError, match=r"is not taken.*make a new one"):
        load_bundle(tmp_path)


def pem(key):
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def test_a_weak_token_key_signs_no_token(tmp_path):
    (tmp_path / "token-key.pem").write_bytes(pem(rsa_key(1024)))
    with pytest.raises(
        LocalMeshError, match=r"token-key\.pem is not a key.*1024 bits.*remove it, and a new one is made"
    ):
        TokenIssuer(tmp_path).mint("demo", "web")


def test_a_chain_of_many_of_one_name_is_judged_in_bounded_work(tmp_path):
    """64 certificates that all sign each other: paths through them are more than atoms."""
    bundle = new_bundle("a")
    save_bundle(tmp_path, bundle)
    now, name = datetime.now(UTC), bundle.certificate.subject
    twins = [
        x509.CertificateBuilder(name, name, bundle.key.public_key(), number, now, now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(bundle.key, SHA256)
        .public_bytes(serialization.Encoding.PEM)
        for number in range(2, 60)
    ]
    (tmp_path / "cert-chain.pem").write_bytes(b"".join(twins))
    (tmp_path / "root-cert.pem").write_bytes(
        x509.load_pem_x509_certificate(new_bundle("b").roots[0].public_bytes(serialization.Encoding.PEM)).public_bytes(
            serialization.Encoding.PEM
        )
    )
    with pytest.raises(BundleError, match="was signed by none of the roots"):
        load_bundle(tmp_path)


def test_a_key_that_waits_or_does_not_end_is_none(tmp_path):
    save_bundle(tmp_path, new_bundle("a"))
    (tmp_path / KEY).unlink()
    os.mkfifo(tmp_path / KEY)
    with pytest.raises(BundleError, match="is a FIFO, not a regular file"):
        CertificateAuthority(tmp_path)
    (tmp_path / KEY).unlink()
    (tmp_path / KEY).symlink_to("/dev/zero")
    with pytest.raises(BundleError, match="is a device, not a regular file"):
        CertificateAuthority(tmp_path)


WRONG = {
    "a file": (lambda path: path.write_text("x"), "a part of this path is a file: name a folder"),
    "below a file": (lambda path: path.parent.joinpath("file").write_text("x"), "name a folder"),
    "other files": (lambda path: write(path, mesh="{}"), "it holds other files: name one that is empty"),
    "no key": (lambda path: save_and_drop(path, KEY), f"{KEY} is missing: bring it back, or name an empty folder"),
    "a link in a circle": (lambda path: path.symlink_to(path), "symbolic links lead in a circle"),
    "a long name": (None, "choose a shorter path"),
}


def save_and_drop(folder, name):
    save_bundle(folder, new_bundle("a"))
    (folder / name).unlink()


@pytest.mark.parametrize(("make", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_folder_is_said_in_our_own_words_and_left_alone(tmp_path, make, reason):
    ca = tmp_path / "ca"
    if reason == "name a folder":
        ca = tmp_path / "file" / "ca"
        (tmp_path / "file").write_text("x")
    elif make is None:
        ca = tmp_path / ("x" * 300)
    else:
        make(ca)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LocalMeshError, match=reason) as caught:
        CertificateAuthority(ca)
    assert str(ca) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before, "nothing was written"


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "no space left on device: free some space there, or choose another folder"),
        (errno.EROFS, "read-only file system: choose a folder that can be written to"),
        (errno.EACCES, "permission denied: run it as the owner, or give it the permission"),
    ],
)
def test_a_disk_that_takes_nothing_is_said_and_nothing_is_left_behind(tmp_path, monkeypatch, number, reason):
    def full(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fdopen", full)
    for make in (lambda: CertificateAuthority(tmp_path / "ca"), lambda: TokenIssuer(tmp_path / "ca").mint("a", "b")):
        with pytest.raises(LocalMeshError, match=f"cannot be written: {reason}"):
            make()
    assert not list((tmp_path / "ca").iterdir())


def no_files():
    limits.setrlimit(limits.RLIMIT_FSIZE, (0, 0))  # as a full disk: the first byte is one too many


@pytest.mark.parametrize("arguments", [["token", "--namespace", "a", "--service-account", "b"], ["--secure-listen"]])
def test_the_command_says_it_and_ends(tmp_path, arguments):
    folder = write(tmp_path / "mesh", service=SERVICE)
    if arguments[0] == "token":
        save_bundle(tmp_path / "ca", new_bundle("a"))
        arguments = [*arguments, "--ca", str(tmp_path / "ca")]
    else:
        arguments = [
            str(folder),
            "--listen",
            "127.0.0.1:0",
            "--secure-listen",
            "127.0.0.1:0",
            "--ca",
            str(tmp_path / "ca"),
        ]
    done = subprocess.run(
        [sys.executable, "-m", "localmesh", *arguments],
        capture_output=True, text=True, check=False, preexec_fn=no_files, timeout=50,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written: file too large: raise the limit" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_temporary_folder_is_said_at_the_start_and_survived_later(tmp_path, monkeypatch, caplog):
    port = TlsPort("127.0.0.1:0", CertificateAuthority(), lambda: "cluster.local")
    shown = port._context

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    port.certificate_changed()
    assert port._context is shown
    assert "no space left on device: free some space there" in caplog.text
    mesh = LocalMesh(write(tmp_path / "mesh", service=SERVICE), watch=False)
    with pytest.raises(LocalMeshError, match=r"secure port's certificate cannot be made: no space.*TMPDIR"):
        mesh.start()


def test_an_expired_signer_is_said(tmp_path, monkeypatch):
    mesh = LocalMesh(write(tmp_path / "mesh", service=SERVICE), watch=False)
    monkeypatch.setattr("localmesh.ca.leaf.datetime", Later)
    with pytest.raises(LocalMeshError, match=r"signing certificate has expired.*name an empty --ca folder"):
        mesh.start()


class Later:
    @staticmethod
    def now(zone):
        return datetime.now(zone) + timedelta(days=9999)


TOKEN = ["token", "--namespace", "demo", "--service-account", "web"]


@pytest.mark.parametrize("module", ["localmesh", "proxyless localmesh"])
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([*TOKEN, "--ca", "typo"], "typo holds no certificate authority: name the --ca folder of a mesh"),
        ([*TOKEN, "--ca", "ca", "--lifetime", "-5"], "a token's lifetime is more than 0"),
        ([*TOKEN, "--ca", "ca", "--lifetime", "nan"], "a token's lifetime is more than 0"),
        ([*TOKEN, "--ca", "ca", "--namespace", "De mo"], "'De mo' is no namespace"),
        ([*TOKEN, "--ca", "ca", "--service-account", "-x"], "'-x' is no service account"),
    ],
)
def test_a_token_that_nobody_could_use_is_not_made(tmp_path, module, arguments, reason):
    save_bundle(tmp_path / "ca", new_bundle("a"))
    if arguments[-1] == "-x":
        arguments = [*arguments[:-2], "--service-account=-x"]
    done = subprocess.run(
        [sys.executable, "-m", *module.split(), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr
    assert not (tmp_path / "typo").exists()
