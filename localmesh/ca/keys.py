"""Which keys are certified, sign certificates and sign tokens: those that every TLS library of the mesh takes. Pure.

istiod certifies whatever Go can parse; we draw the line where `native/tls` and its *ring* do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

CertifiedKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192  # below it is broken one day, above it a handshake costs too much
_MAX_RSA_EXPONENT_BITS = 33
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def weakness(key: PublicKeyTypes) -> str | None:
    """Why the key is not one to sign with or to be certified, if it is not."""
    if isinstance(key, rsa.RSAPublicKey):
        return _rsa_weakness(key)
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        return f"an EC key on the curve {key.curve.name} is not taken, those on P-256, P-384 and P-521 are"
    return None if isinstance(key, CertifiedKey) else "only RSA, EC and Ed25519 keys are certified here"


def _rsa_weakness(key: rsa.RSAPublicKey) -> str | None:
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return f"an RSA key of {key.key_size} bits is not taken, those of {MIN_RSA_BITS} to {MAX_RSA_BITS} are"
    exponent = key.public_numbers().e
    if exponent.bit_length() > _MAX_RSA_EXPONENT_BITS or exponent < 3 or not exponent % 2:  # noqa: PLR2004
        return "an RSA key with this public exponent is not taken, 65537 is the usual one"
    return None
