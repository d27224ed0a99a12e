"""The certificate that signs, its key, and the roots that are trusted: made, and kept in a folder. Any thread.

The folder has the files of istiod's ROOT_CA_DIR, so that istiod and localmesh can share one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from localmesh.ca.keys import weakness
from localmesh.errors import LocalMeshError
from localmesh.files import FileError, advice, read_file, write_private

if TYPE_CHECKING:
    from pathlib import Path

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ROOTS, CERTIFICATE, KEY, CHAIN = "root-cert.pem", "ca-cert.pem", "ca-key.pem", "cert-chain.pem"
_OTHERS = ("next", "token-key.pem")  # the next root's folder, and the tokens' key, which may be there first
ROOT_LIFETIME = timedelta(days=3650)  # istiod's DefaultSelfSignedCACertTTL
MAX_FILE = 1024 * 1024  # of a folder's file: hundreds of certificates
MAX_CERTIFICATES = 64
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
        if weak := weakness(self.key.public_key()):
            return f"the key of {KEY} is not one to trust: {weak}: make a new one"
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
        key = serialization.load_pem_private_key(read_file(folder / KEY, MAX_FILE), password=None)
        (certificate, *_) = x509.load_pem_x509_certificates(read_file(folder / CERTIFICATE, MAX_FILE))
        roots = x509.load_pem_x509_certificates(read_file(folder / ROOTS, MAX_FILE))
        written = read_file(folder / CHAIN, MAX_FILE) if (folder / CHAIN).exists() else b""
        chain = x509.load_pem_x509_certificates(written) if written.strip() else []
        if not isinstance(key, SigningKey):
            raise BundleError(f"{folder / KEY}: only EC and RSA keys can sign here")
        if len(chain) + len(roots) > MAX_CERTIFICATES:
            raise BundleError(
                f"{folder}: more than {MAX_CERTIFICATES} certificates in {ROOTS} and {CHAIN}: remove some"
            )
        # a root in the chain tells nobody anything: whoever trusts it has it
        bundle = Bundle(certificate, key, tuple(link for link in chain if link not in roots), tuple(roots))
        problem = bundle.problem()
    except FileError as error:
        raise BundleError(f"{folder} is no folder of a certificate authority: {error}") from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise BundleError(f"{folder} is no folder of a certificate authority: {error}") from error
    if problem:
        raise BundleError(f"{folder}: {problem}")
    return bundle


def holds_bundle(folder: Path) -> bool:
    """False: one may be made there. Raises `BundleError` for a folder that is somebody else's, or is not whole."""
    try:
        names = {name for name in os.listdir(folder) if not name.startswith(".")}  # noqa: PTH208  # names are enough
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BundleError(f"{folder} is no folder of a certificate authority: {advice(error)}") from error
    if KEY in names:
        return True
    if names & {CERTIFICATE, ROOTS}:
        raise BundleError(f"{folder}: {KEY} is missing: bring it back, or name an empty folder, and all is made anew")
    if names - {CHAIN, *_OTHERS}:
        reason = "it holds other files: name one that is empty or not there yet"
        raise BundleError(f"{folder} is no folder of a certificate authority: {reason}")
    return False


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """The key first: while the files do not fit together, `load_bundle` says so and nobody takes half of them."""
    write_private(folder / KEY, key_pem(bundle.key))
    write_private(folder / CERTIFICATE, pem((bundle.certificate,)))
    write_private(folder / CHAIN, pem(bundle.chain or (bundle.certificate,)))  # istiod will not start on an empty one
    write_private(folder / ROOTS, pem(bundle.roots))


def pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def key_pem(key: SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _leads_to_a_root(
    certificate: x509.Certificate, chain: tuple[x509.Certificate, ...], roots: tuple[x509.Certificate, ...]
) -> bool:
    """Whether signatures lead from the certificate through the chain to a root; each link is looked at once."""
    reached, rest = [certificate], [link for link in chain if link != certificate]
    while reached:
        found = reached.pop()
        if found in roots or any(_signed(found, root) for root in roots):
            return True
        reached += (issuers := [issuer for issuer in rest if _signed(found, issuer)])
        rest = [issuer for issuer in rest if issuer not in issuers]
    return False


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True
