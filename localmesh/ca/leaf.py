"""One certificate for a workload or for localmesh itself, with the fields that istiod gives it. Pure.

Follows istiod's `security/pkg/pki/util/generate_cert.go` and `san.go`.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

    from localmesh.ca.bundle import Bundle

CLOCK_SKEW = timedelta(minutes=2)  # how far a certificate is backdated, for workloads whose clocks are behind
_SERIAL_BITS = 128
_MAX_COMMON_NAME = 64


def issue(
    bundle: Bundle,
    public_key: CertificateIssuerPublicKeyTypes,
    names: Sequence[str],
    lifetime: timedelta,
    *,
    common_name: bool = False,
) -> x509.Certificate:
    """Names are SPIFFE ids, host names or IP addresses; no certificate outlives the one that signs it.

    Raises `ValueError` if the signing certificate has expired. With ``common_name`` the subject carries the first
    name too (istiod's dual use), if it is not too long for one.
    """
    now = datetime.now(UTC)
    until = bundle.certificate.not_valid_after_utc
    if now >= until:
        raise ValueError(f"signing certificate has expired at {until}")
    subject = []
    if common_name and len(names[0]) <= _MAX_COMMON_NAME:
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(bundle.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number() % (1 << _SERIAL_BITS) or 1)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + lifetime, until))
        .add_extension(_KEY_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=True)
    )
    with suppress(x509.ExtensionNotFound):
        issuer = bundle.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer)
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(bundle.key, hashes.SHA256())


_KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    content_commitment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _general_name(name: str) -> x509.GeneralName:
    if name.startswith("spiffe://"):
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
