"""The certificate that signs, its key, and the roots that are trusted: made, and kept in a folder. Any thread.

The folder has the files of istiod's ROOT_CA_DIR, so that istiod and localmesh can share one.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from localmesh.errors import LocalMeshError

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ROOTS, CERTIFICATE, KEY, CHAIN = "root-cert.pem", "ca-cert.pem", "ca-key.pem", "cert-chain.pem"
ROOT_LIFETIME = timedelta(days=3650)  # istiod's DefaultSelfSignedCACertTTL
_BACKDATED = timedelta(hours=1)


class BundleError(LocalMeshError):
    """The folder's certificates and key do not make a certificate authority."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """``chain`` is sent between a leaf and the roots; ``roots`` are all that are trusted, old and new."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    roots: tuple[x509.Certificate, ...]

    def problem(self) -> str | None:
        """Why this cannot sign, if it cannot."""
        if self.certificate.public_key() != self.key.public_key():
            return f"the key of {KEY} is not the one that {CERTIFICATE} certifies"
        try:
            is_ca = self.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
        if not is_ca:
            return f"the certificate of {CERTIFICATE} may not sign others (it is not a CA)"
        if not _leads_to_a_root(self.certificate, self.chain, self.roots):
            return f"{CERTIFICATE} was signed by none of the roots in {ROOTS}, directly or through {CHAIN}"
        return None


def new_bundle(trust_domain: str) -> Bundle:
    """A self-signed root of its own, EC P-256, good for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Bundle(certificate, key, (), (certificate,))


def load_bundle(folder: Path) -> Bundle:
    """What the folder holds; raises `BundleError` naming the folder, the file and what is wrong with it."""
    try:
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), password=None)
        (certificate, *_) = x509.load_pem_x509_certificates((folder / CERTIFICATE).read_bytes())
        roots = x509.load_pem_x509_certificates((folder / ROOTS).read_bytes())
        written = (folder / CHAIN).read_bytes() if (folder / CHAIN).exists() else b""
        chain = x509.load_pem_x509_certificates(written) if written.strip() else []
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{folder} is no folder of a certificate authority: {error}") from error
    if not isinstance(key, SigningKey):
        raise BundleError(f"{folder / KEY}: only EC and RSA keys can sign here")
    # a root in the chain tells nobody anything: whoever trusts it has it
    bundle = Bundle(certificate, key, tuple(link for link in chain if link not in roots), tuple(roots))
    if problem := bundle.problem():
        raise BundleError(f"{folder}: {problem}")
    return bundle


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """The key first: while the files do not fit together, `load_bundle` says so and nobody takes half of them."""
    write_private(folder / KEY, key_pem(bundle.key))
    write_private(folder / CERTIFICATE, pem((bundle.certificate,)))
    write_private(folder / CHAIN, pem(bundle.chain or (bundle.certificate,)))  # istiod will not start on an empty one
    write_private(folder / ROOTS, pem(bundle.roots))


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_private_once(path: Path, content: bytes) -> bool:
    """The same, but never over what is there: whoever is second must read it. Whether it was written."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    write_private(draft, content)
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def key_pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _leads_to_a_root(
    certificate: x509.Certificate, chain: tuple[x509.Certificate, ...], roots: tuple[x509.Certificate, ...]
) -> bool:
    """Whether signatures lead from the certificate through the chain to a root; each issuer is used once."""
    if certificate in roots or any(_signed(certificate, root) for root in roots):
        return True
    rest = tuple(issuer for issuer in chain if issuer != certificate)
    return any(
        _leads_to_a_root(issuer, tuple(other for other in rest if other != issuer), roots)
        for issuer in rest
        if _signed(certificate, issuer)
    )


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
