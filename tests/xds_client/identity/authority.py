"""A certificate authority for tests: makes good certificates, and every kind of bad one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SPIFFE_ID = "spiffe://cluster.local/ns/demo/sa/shop"
_DAY = timedelta(days=1)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def pem(*certificates):
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def der(*certificates):
    return b"".join(c.public_bytes(serialization.Encoding.DER) for c in certificates)


def private_pem(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def private_der(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption())


def certificate_of(data):
    """The first of a PEM chain."""
    return x509.load_pem_x509_certificates(data)[0]


class Authority:
    """A root, or an intermediate of ``parent``."""

    def __init__(self, name="root", parent=None, not_before=None, not_after=None):
        self.key = new_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        now = datetime.now(UTC)
        issuer = parent or self
        self.certificate = _build(
            self.name,
            issuer.name,
            self.key.public_key(),
            issuer.key,
            not_before or now - 365 * _DAY,
            not_after or now + 365 * _DAY,
            [x509.BasicConstraints(ca=True, path_length=None)],
        )

    @property
    def pem(self):
        return pem(self.certificate)

    def issue(self, key, *uris, not_before=None, not_after=None, ca=False, dns=()):
        """A leaf for the key; by default a good one of a day."""
        now = datetime.now(UTC)
        names = [x509.UniformResourceIdentifier(uri) for uri in uris] + [x509.DNSName(name) for name in dns]
        extensions = [x509.BasicConstraints(ca=ca, path_length=None)]
        extensions += [x509.SubjectAlternativeName(names)] if names else []
        public = key.public_key() if hasattr(key, "public_key") else key
        dates = not_before or now - timedelta(minutes=2), not_after or now + _DAY
        return _build(x509.Name([]), self.name, public, self.key, *dates, extensions)


def _build(subject, issuer, public, signer, not_before, not_after, extensions):
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(signer, hashes.SHA256())
