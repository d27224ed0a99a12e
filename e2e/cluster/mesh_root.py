"""Roots for istiod's CA, in the four files that it watches, and their rotation step by step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MeshRoot:
    """A self-signed root and its key, PEM."""

    certificate: bytes
    key: bytes

    @classmethod
    def make(cls, name: str) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        pkcs8 = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM), pkcs8)

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls((folder / "ca-cert.pem").read_bytes(), (folder / "ca-key.pem").read_bytes())

    @property
    def fingerprint(self) -> str:
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256()).hex()

    @property
    def key_identifier(self) -> str:
        """What the certificates that it signs say about their issuer."""
        extensions = x509.load_pem_x509_certificate(self.certificate).extensions
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def sign_with(folder: Path, signer: MeshRoot, trusted: list[MeshRoot]) -> None:
    """From now on istiod signs with one root, and tells all pods to trust these. It reads at every change of a file."""
    bundle = b"".join(root.certificate for root in trusted)
    for name, data in (
        ("ca-key.pem", signer.key),
        ("ca-cert.pem", signer.certificate),
        ("cert-chain.pem", signer.certificate),
        ("root-cert.pem", bundle),
    ):
        draft = folder / f".{name}"
        draft.write_bytes(data)
        draft.replace(folder / name)
