"""Tokens for tests, good and bad, signed with `cryptography`: nothing of what checks them is used to make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://issuer.example"
OTHER_ISSUER = "https://other.example"
NOW = int(time.time())
DAY = 86_400  # so much later is later than any run of the tests
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES: dict[str, type[ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}
CURVE_NAMES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Signer:
    """A private key; ``kid`` is what its public half and its tokens name it, empty: they do not."""

    kid: str = ""

    def sign(self, alg: str, data: bytes) -> bytes:
        raise NotImplementedError

    @property
    def fields(self) -> dict[str, Any]:
        raise NotImplementedError

    def jwk(self, **fields: Any) -> dict[str, Any]:
        """Its public key; a field that is None is left out."""
        found = {**self.fields, **({"kid": self.kid} if self.kid else {}), **fields}
        return {key: value for key, value in found.items() if value is not None}

    def token(
        self,
        alg: str,
        claims: Mapping[str, Any] | bytes | None = None,
        header: Mapping[str, Any] | bytes | None = None,
        **more: Any,
    ) -> str:
        """``claims`` in place of good ones, ``more`` beside them; None: left out. Bytes are taken as they are."""
        if not isinstance(header, bytes):
            found = {"alg": alg, "typ": "JWT", **({"kid": self.kid} if self.kid else {}), **(header or {})}
            header = json.dumps({key: value for key, value in found.items() if value is not None}).encode()
        if not isinstance(claims, bytes):
            said = {**(good_claims() if claims is None else claims), **more}
            claims = json.dumps({key: value for key, value in said.items() if value is not None}).encode()
        signed = f"{b64(header)}.{b64(claims)}"
        return f"{signed}.{b64(self.sign(alg, signed.encode()))}"


def good_claims() -> dict[str, Any]:
    return {"iss": ISSUER, "sub": "alice", "exp": NOW + DAY, "iat": NOW}


@dataclass(frozen=True)
class Rsa(Signer):
    bits: int = 2048

    @cached_property
    def key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, self.bits)

    @property
    def fields(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}

    def sign(self, alg: str, data: bytes) -> bytes:
        digest = HASHES[alg[2:]]()
        if alg.startswith("PS"):
            return self.key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        return self.key.sign(data, padding.PKCS1v15(), digest)


@dataclass(frozen=True)
class Ec(Signer):
    alg: str = "ES256"

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(CURVES[self.alg]())

    @property
    def size(self) -> int:
        return (self.key.curve.key_size + 7) // 8

    @property
    def fields(self) -> dict[str, Any]:
        numbers = self.key.public_key().public_numbers()
        x, y = (b64(value.to_bytes(self.size, "big")) for value in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": CURVE_NAMES[self.alg], "x": x, "y": y}

    def sign(self, alg: str, data: bytes) -> bytes:
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(HASHES[alg[2:]]())))
        return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")


@dataclass(frozen=True)
class Ed(Signer):
    @cached_property
    def key(self) -> ed25519.Ed25519PrivateKey:
        return ed25519.Ed25519PrivateKey.generate()

    @property
    def fields(self) -> dict[str, Any]:
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(self.key.public_key().public_bytes_raw())}

    def sign(self, alg: str, data: bytes) -> bytes:
        del alg
        return self.key.sign(data)


@dataclass(frozen=True)
class Secret(Signer):
    """A shared secret (HS256 and so on)."""

    secret: bytes = field(default=b"0123456789abcdef0123456789abcdef", repr=False)

    @property
    def fields(self) -> dict[str, Any]:
        return {"kty": "oct", "k": b64(self.secret)}

    def sign(self, alg: str, data: bytes) -> bytes:
        return hmac.digest(self.secret, data, getattr(hashlib, f"sha{alg[2:]}"))


@dataclass(frozen=True)
class Nobody(Signer):
    """Signs nothing, whatever its tokens say."""

    def sign(self, alg: str, data: bytes) -> bytes:
        del alg, data
        return b""


def jwks(*keys: dict[str, Any]) -> str:
    return json.dumps({"keys": list(keys)})


RSA_1 = Rsa("rsa-1")
RSA_2 = Rsa("rsa-2")
EC_256 = Ec("ec-256")
EC_384 = Ec("ec-384", "ES384")
EC_512 = Ec("ec-512", "ES512")
ED = Ed("ed")
HS = Secret("hs")
NONE = Nobody()
SMALL = Rsa("small", 1024)
