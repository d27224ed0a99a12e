"""Service-account tokens: minted as the API server does for a projected volume, verified as istiod does. Any thread.

Follows `security/pkg/server/ca/authenticate/oidc.go` and the OIDC rules that it relies on.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import secrets
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from localmesh.ca.bundle import MAX_FILE, key_pem
from localmesh.ca.keys import weakness
from localmesh.errors import LocalMeshError
from localmesh.files import FileError, read_file, write_private_once

if TYPE_CHECKING:
    from pathlib import Path

AUDIENCE = "istio-ca"
LIFETIME = 43_200.0  # seconds: what Istio's injector asks of the projected volume
ISSUER = "https://localmesh.local"
KEY_FILE = "token-key.pem"
_LONGEST_LIFETIME = 2**32  # seconds, as Kubernetes' TokenRequest
_LONGEST_NAME = 253
_SUBJECT = "system:serviceaccount"
_SUBJECT_PARTS = 4
_KEY_BITS = 2048
_MADE_ANEW = "remove it, and a new one is made"
_NOT_BEFORE_LEEWAY = 300.0
_TOKEN_PARTS = 3


class TokenRefused(LocalMeshError):  # noqa: N818  # says what happened, as InvalidNode does elsewhere
    """The token proves nothing; the message is the reason, for the log: istiod does not tell it to the client."""


class ServiceAccount(NamedTuple):
    namespace: str
    name: str


class TokenIssuer:
    """Signs with a key of its own, which is made when first needed and kept in the folder, if there is one."""

    def __init__(self, folder: Path | None = None, issuer: str = ISSUER) -> None:
        self._folder = folder
        self.issuer = issuer
        self._lock = threading.Lock()
        self._made: rsa.RSAPrivateKey | None = None

    def mint(self, namespace: str, name: str, *, audience: str = AUDIENCE, lifetime: float = LIFETIME) -> str:
        """A token of the service account, good for ``lifetime`` seconds."""
        now = time.time()
        claims = {
            "iss": self.issuer,
            "sub": f"{_SUBJECT}:{namespace}:{name}",
            "aud": [audience],
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now + lifetime),
            "jti": secrets.token_hex(16),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}},
        }
        return self.sign(claims)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Any claims at all as a token of ours; ``header`` changes what it says about itself."""
        signed = f"{_encoded({'alg': 'RS256', 'kid': self._key_id} | header)}.{_encoded(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"

    def verify(self, token: str, audience: str = AUDIENCE) -> ServiceAccount:
        """Whose token it is; raises `TokenRefused`."""
        claims = self._claims(token)
        if claims.get("iss") != self.issuer:
            raise TokenRefused(f"token issued by a different provider, expected {self.issuer!r}")
        self._check_times(claims)
        subject = claims.get("sub")
        parts = subject.split(":") if isinstance(subject, str) else []
        if len(parts) != _SUBJECT_PARTS or not all(parts) or ":".join(parts[:2]) != _SUBJECT:
            raise TokenRefused(f"invalid sub {subject!r}")
        audiences = claims.get("aud")
        if not isinstance(audiences, list) or audience not in audiences:
            raise TokenRefused(f"invalid audiences {audiences!r}, expected {audience!r}")
        return ServiceAccount(parts[2], parts[3])

    @property
    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set, for a real istiod that is to take these tokens (its JWT_RULE)."""
        public = self._key.public_key().public_numbers()
        numbers = {"n": public.n, "e": public.e}
        encoded = {name: _base64(value.to_bytes((value.bit_length() + 7) // 8)) for name, value in numbers.items()}
        return {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self._key_id, **encoded}]}

    def _claims(self, token: str) -> dict[str, Any]:
        parts = token.split(".")
        if len(parts) != _TOKEN_PARTS:
            raise TokenRefused("malformed jwt: it has not three parts")
        try:
            header, claims = (json.loads(_decoded(part)) for part in parts[:2])
            signature = _decoded(parts[2])
        except (ValueError, binascii.Error, RecursionError) as error:
            raise TokenRefused(f"malformed jwt: {error}") from error
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise TokenRefused("malformed jwt: header and claims must be objects")
        if header.get("alg") != "RS256":
            raise TokenRefused(f"malformed jwt: unexpected signature algorithm {header.get('alg')!r}")
        try:
            signed = ".".join(parts[:2]).encode()
            self._key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature as error:
            raise TokenRefused("failed to verify signature: it is not by this mesh's key") from error
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        expires, begins, now = claims.get("exp"), claims.get("nbf", 0), time.time()
        if not isinstance(expires, int | float) or not isinstance(begins, int | float):
            raise TokenRefused("malformed jwt: exp and nbf must be numbers, and exp must be there")
        if expires < now:
            raise TokenRefused(f"token is expired (since {now - expires:.0f} s)")
        if begins > now + _NOT_BEFORE_LEEWAY:
            raise TokenRefused(f"token is not valid yet (for another {begins - now:.0f} s)")

    @property
    def _key(self) -> rsa.RSAPrivateKey:
        with self._lock:  # of two who need it first, one makes it
            if self._made is None:
                self._made = self._load_or_make()
            return self._made

    def _load_or_make(self) -> rsa.RSAPrivateKey:
        path = self._folder / KEY_FILE if self._folder is not None else None
        if path is not None and path.exists():
            return _load(path)
        made = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        if path is not None and not write_private_once(path, key_pem(made)):
            return _load(path)  # another process was first
        return made

    @cached_property
    def _key_id(self) -> str:
        public = self._key.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return _base64(hashlib.sha256(der).digest())


def check_claims(namespace: str, name: str, lifetime: float) -> None:
    """Raises `LocalMeshError` for what Kubernetes would make no token of; tests may want one all the same."""
    for what, given in (("namespace", namespace), ("service account", name)):
        if not _is_name(given):
            raise LocalMeshError(f"{given!r} is no {what}: Kubernetes takes small letters, digits and - between them")
    if not 0 < lifetime <= _LONGEST_LIFETIME:
        raise LocalMeshError(f"a token's lifetime is more than 0 and at most {_LONGEST_LIFETIME} s, not {lifetime:g}")


def _is_name(text: str) -> bool:
    """A DNS subdomain, as names of service accounts are; namespaces are labels, which is stricter by the dots."""
    parts = text.split(".")
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    return len(text) <= _LONGEST_NAME and all(
        part and set(part) <= letters and not part.startswith("-") and not part.endswith("-") for part in parts
    )


def _load(path: Path) -> rsa.RSAPrivateKey:
    try:
        found = serialization.load_pem_private_key(read_file(path, MAX_FILE), password=None)
    except FileError as error:
        raise LocalMeshError(f"{error} (the key that signs tokens)") from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LocalMeshError(f"{path} is not a key that signs tokens: {error}: {_MADE_ANEW}") from error
    if not isinstance(found, rsa.RSAPrivateKey):
        raise LocalMeshError(f"{path} is not a key that signs tokens: an RSA key is needed: {_MADE_ANEW}")
    if weak := weakness(found.public_key()):
        raise LocalMeshError(f"{path} is not a key that signs tokens: {weak}: {_MADE_ANEW}")
    return found


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _encoded(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _decoded(part: str) -> bytes:
    padded = part + "=" * (-len(part) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
