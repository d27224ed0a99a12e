"""Reading certificates, and judging whether one can be our identity. Pure functions of bytes; no clock, no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from xds_client.errors import CertificateError
from xds_client.identity.svid import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

Chain = tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the SPIFFE ID must say. Empty: anything. ``aliases``: of the trust domain, as good as it."""

    trust_domain: str = ""
    aliases: tuple[str, ...] = ()
    namespace: str = ""
    service_account: str = ""

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain or '*'}/ns/{self.namespace or '*'}/sa/{self.service_account or '*'}"


def read_chain(pem: bytes, origin: str) -> Chain:
    """One or more certificates in PEM; ``origin`` says in errors where they came from."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{origin}: no PEM certificates: {error}") from error


def read_key(pem: bytes, origin: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's own words are left out: they are about bytes that are secret.
        raise CertificateError(f"{origin}: no private key in PEM without a password") from None


def key_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def to_pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def make_identity(
    chain: Sequence[x509.Certificate],
    key: PrivateKeyTypes,
    roots: Sequence[x509.Certificate],
    expected: Expected,
    origin: str,
) -> Identity:
    """The identity, or a `CertificateError` that says what is wrong with it. Its dates are the caller's to judge."""
    leaf = chain[0]
    spiffe_id = read_spiffe_id(leaf, origin)
    what = f"{origin}: the certificate of {spiffe_id}"
    if leaf.public_key() != key.public_key():
        raise CertificateError(f"{what} is for another key than the one it comes with; have it issued anew")
    if _is_authority(leaf):
        raise CertificateError(f"{what} is a CA's (basicConstraints CA:TRUE), not a workload's")
    _check_name(spiffe_id, expected, what)
    if not reaches(chain, roots):
        raise CertificateError(
            f"{what} does not lead to a trusted root: its chain of {len(chain)} ends with one issued by "
            f"{chain[-1].issuer.rfc4514_string()!r}, and the roots are {_names(roots)}; "
            "let the chain contain the intermediates and the mesh root file the root"
        )
    own = urlsplit(spiffe_id).netloc
    others = (expected.trust_domain, *expected.aliases)
    return Identity(
        spiffe_id=spiffe_id,
        certificate_chain=to_pem(c for c in chain if not is_root(c)),
        private_key=key_pem(key),
        roots=to_pem(roots),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        trust_domains=(own, *(domain for domain in others if domain not in ("", own))),
    )


def read_spiffe_id(leaf: x509.Certificate, origin: str) -> str:
    """The one URI SAN (X509-SVID, section 2)."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    except ValueError as error:
        raise CertificateError(f"{origin}: a certificate with unreadable extensions: {error}") from error
    if len(uris) != 1:
        raise CertificateError(f"{origin}: a certificate with {len(uris)} URI SANs {uris}; an identity has exactly one")
    parts = urlsplit(uris[0])
    if parts.scheme != "spiffe" or not parts.netloc or len(parts.path) <= 1:
        raise CertificateError(f"{origin}: the certificate's URI SAN {uris[0]!r} is not spiffe://trust-domain/path")
    return uris[0]


def reaches(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> bool:
    """Whether the chain, in its order, leads to one of the roots."""
    return anchor(chain, roots) is not None


def anchor(chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The first of the roots that the chain, in its order, leads to."""
    for certificate, following in zip(chain, (*chain[1:], None), strict=True):
        for root in roots:
            if certificate == root or issued_by(certificate, root):
                return root
        if following is None or not issued_by(certificate, following):
            return None
    return None


def is_root(certificate: x509.Certificate) -> bool:
    """Self-signed, and an authority."""
    return _is_authority(certificate) and issued_by(certificate, certificate)


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _check_name(spiffe_id: str, expected: Expected, what: str) -> None:
    parts = urlsplit(spiffe_id)
    if expected.trust_domain and parts.netloc not in (expected.trust_domain, *expected.aliases):
        raise CertificateError(
            f"{what} is of trust domain {parts.netloc!r}, and ours is {expected.trust_domain!r}: "
            "set PROXYLESS_TRUST_DOMAIN as the mesh says"
        )
    if not expected.namespace and not expected.service_account:
        return
    match parts.path.split("/"):
        case ["", "ns", namespace, "sa", account]:
            pass
        case _:
            raise CertificateError(f"{what} is none that Istio gives; expected was {expected}")
    if expected.namespace not in ("", namespace) or expected.service_account not in ("", account):
        raise CertificateError(
            f"{what} is not the one expected, {expected}: the token is another workload's, or PROXYLESS_NAMESPACE and "
            "PROXYLESS_SERVICE_ACCOUNT are not what this pod runs as"
        )


def _names(certificates: Sequence[x509.Certificate]) -> str:
    return ", ".join(repr(c.subject.rfc4514_string()) for c in certificates) or "none"
