"""Keys and certificate signing requests. Pure functions; the key is never written anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from xds_client.identity.certificate import Expected

_NOBODY = x509.Name([])


def new_key() -> ec.EllipticCurvePrivateKey:
    """EC P-256: what every peer and every CA in a mesh takes."""
    return ec.generate_private_key(ec.SECP256R1())


def signing_request(key: ec.EllipticCurvePrivateKey, expected: Expected, account: str) -> bytes:
    """The CSR in PEM. istiod takes the name from the token alone; istio-csr also wants it here, where it is known.

    ``account``: the service account as the token says it, for want of a better source.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(_NOBODY)
    who = replace(
        expected,
        trust_domain=expected.trust_domain or "cluster.local",
        service_account=expected.service_account or account,
    )
    if who.namespace and who.service_account:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(who))])
        builder = builder.add_extension(names, critical=True)  # RFC 5280, 4.2.1.6: critical if there is no subject
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
