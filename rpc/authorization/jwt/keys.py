"""Key sets (RFC 7517), and whether one of their keys has signed a token. `cryptography` verifies and reads all ASN.1.

Which key is tried for which token is Envoy's (source/common/jwt/verify.cc). Stricter in one thing: a token's algorithm
has to be one of the key's kind and curve (RFC 7518), where Envoy takes whatever its key happens to verify.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.text import read_object, unescape

if TYPE_CHECKING:
    from rpc.authorization.jwt.faults import Fault
    from rpc.authorization.jwt.text import Json
    from rpc.authorization.jwt.token import Token

_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "P-256": ("ES256", ec.SECP256R1()),
    "P-384": ("ES384", ec.SECP384R1()),
    "P-521": ("ES512", ec.SECP521R1()),
}
_EXPONENTS = (3, 65537)  # others are no keys that anybody makes
_ED25519_SIGNATURE = 64
_PEM = ("-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n")


class NoKeysError(Exception):
    """What Envoy says of a key set that is none."""


class _Signatures(Protocol):
    """One key's; ``algorithm`` is one that Envoy knows."""

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Key:
    """``name`` and ``algorithm`` empty: it does not say, and is tried for any."""

    name: str
    algorithm: str
    signatures: _Signatures


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """Equal to itself only: what was verified with another one, be it of the same keys, is verified again."""

    keys: tuple[Key, ...]

    def not_signed(self, token: Token) -> Fault | None:
        """None: one of the keys has signed it."""
        fault = faults.NO_SUCH_KEY
        for key in self.keys:
            if token.key and key.name and token.key != key.name:
                continue
            if key.algorithm and key.algorithm != token.algorithm:
                continue
            if isinstance(key.signatures, _Ed25519) and len(token.signature) != _ED25519_SIGNATURE:
                return faults.WRONG_ED25519_LENGTH  # whatever keys come after it
            if key.signatures.verify(token.algorithm, token.signature, token.signed):
                return None
            fault = faults.VERIFICATION_FAILS
        return fault


# ---- kinds of keys


@dataclass(frozen=True, slots=True)
class _Rsa:
    key: rsa.RSAPublicKey

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        digest = _HASHES.get(algorithm[2:])
        if digest is None or algorithm[:2] not in ("RS", "PS"):
            return False
        how = (
            padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
            if algorithm.startswith("PS")
            else padding.PKCS1v15()
        )
        try:
            self.key.verify(signature, signed, how, digest)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Ec:
    key: ec.EllipticCurvePublicKey
    algorithm: str

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        size = (self.key.curve.key_size + 7) // 8
        if algorithm != self.algorithm or len(signature) != 2 * size:
            return False
        r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
        try:
            self.key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(_HASHES[algorithm[2:]]))
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Ed25519:
    key: ed25519.Ed25519PublicKey

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        if algorithm != "EdDSA":
            return False
        try:
            self.key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class _Secret:
    secret: bytes

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        if not algorithm.startswith("HS"):
            return False
        return hmac.compare_digest(hmac.digest(self.secret, signed, f"sha{algorithm[2:]}"), signature)


# ---- reading them


def read_keys(text: bytes) -> KeySet:
    """A key set, or certificates in PEM by the names of their keys. Keys that cannot be read are passed over.

    Raises `NoKeysError` where none is left.
    """
    said = read_object(text)
    if said is None:
        raise NoKeysError("Jwks is an invalid JSON")
    if "keys" not in said:
        return KeySet(tuple(_of_certificates(said)))
    if not isinstance(said["keys"], list):
        raise NoKeysError("[keys] in Jwks is not an array")
    keys = tuple(key for one in said["keys"] if isinstance(one, dict) and (key := _key(one)) is not None)
    if not keys:
        raise NoKeysError("Jwks doesn't have any valid public key")
    return KeySet(keys)


def _of_certificates(said: dict[str, Json]) -> list[Key]:
    keys = []
    for name, pem in said.items():
        if not (name and isinstance(pem, str) and pem.startswith(_PEM[0]) and pem.endswith(_PEM[1])):
            raise NoKeysError("Jwks does not have [keys] field")
        try:
            found = x509.load_pem_x509_certificate(pem.encode()).public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise NoKeysError("X509 parse pubkey fails") from error
        if not isinstance(found, rsa.RSAPublicKey):
            raise NoKeysError("X509 parse pubkey internal fails: get pubkey")
        keys.append(Key(name, "", _Rsa(found)))
    if not keys:
        raise NoKeysError("Jwks does not have [keys] field")
    return keys


def _key(said: dict[str, Json]) -> Key | None:
    name, algorithm = _text(said, "kid") or "", _text(said, "alg") or ""
    read = _KINDS.get(_text(said, "kty") or "")
    try:
        signatures = read(said, algorithm) if read is not None else None
    except (ValueError, UnsupportedAlgorithm):
        return None
    return Key(name, algorithm, signatures) if signatures is not None else None


def _rsa(said: dict[str, Json], algorithm: str) -> _Signatures | None:
    modulus, exponent = _number(said, "n"), _number(said, "e")
    if (algorithm and algorithm[:2] not in ("RS", "PS")) or modulus is None or exponent not in _EXPONENTS:
        return None
    return _Rsa(rsa.RSAPublicNumbers(exponent, modulus).public_key())


def _ec(said: dict[str, Json], algorithm: str) -> _Signatures | None:
    """Algorithm and curve have to agree; one of them is enough, none is P-256."""
    named = {ours: curve for curve, (ours, _) in _CURVES.items()}
    if (algorithm and algorithm not in named) or ("crv" in said and _text(said, "crv") is None):
        return None
    curve = _text(said, "crv") or named.get(algorithm, "P-256")
    x, y = _number(said, "x"), _number(said, "y")
    if curve not in _CURVES or named.get(algorithm, curve) != curve or x is None or y is None:
        return None
    ours, group = _CURVES[curve]
    return _Ec(ec.EllipticCurvePublicNumbers(x, y, group).public_key(), ours)


def _okp(said: dict[str, Json], algorithm: str) -> _Signatures | None:
    raw = _bytes(said, "x")
    if algorithm not in ("", "EdDSA") or _text(said, "crv") != "Ed25519" or raw is None:
        return None
    return _Ed25519(ed25519.Ed25519PublicKey.from_public_bytes(raw))


def _oct(said: dict[str, Json], algorithm: str) -> _Signatures | None:
    secret = _bytes(said, "k")
    return _Secret(secret) if secret and algorithm in ("", "HS256", "HS384", "HS512") else None


_KINDS = {"RSA": _rsa, "EC": _ec, "OKP": _okp, "oct": _oct}


def _text(said: dict[str, Json], name: str) -> str | None:
    found = said.get(name)
    return found if isinstance(found, str) else None


def _bytes(said: dict[str, Json], name: str) -> bytes | None:
    found = _text(said, name)
    return unescape(found.encode()) if found is not None else None


def _number(said: dict[str, Json], name: str) -> int | None:
    found = _bytes(said, name)
    return int.from_bytes(found, "big") if found is not None else None
