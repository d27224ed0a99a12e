"""The projected token that proves to istiod who we are. It is secret: it is read, shown to istiod, and forgotten."""

from __future__ import annotations

import base64
import json
import string
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from xds_client.errors import TokenError
from xds_client.reading import read_file

_PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation)
_JWT_PARTS = 3
_ADVICE = (
    "mount a projected service account token with audience istio-ca there, or set PROXYLESS_TOKEN_PATH (to a control "
    "plane without identities, a laptop's say, one has to say PROXYLESS_SECURITY=plaintext)"
)


@dataclass(frozen=True, slots=True)
class Token:
    value: str = field(repr=False)
    path: str

    def describe(self, now: datetime) -> str:
        """What the token says of itself that is no secret: whose it is, for which audience and until when."""
        claims = self.claims()
        if not claims:
            return f"token {self.path} (which is no JWT)"
        said = [f"of {claims.get('sub', 'nobody')!r}", f"for audience {claims.get('aud', 'none')!r}"]
        with suppress(TypeError, ValueError, OverflowError, OSError):
            expiry = datetime.fromtimestamp(float(claims["exp"]), UTC) if "exp" in claims else None
            if expiry:
                said.append(f"{'expired' if expiry <= now else 'valid until'} {expiry.isoformat(timespec='seconds')}")
        return f"token {self.path} ({', '.join(said)})"

    def claims(self) -> dict[str, Any]:
        """Unverified: good for messages and for guesses, never for decisions."""
        parts = self.value.split(".")
        if len(parts) != _JWT_PARTS:
            return {}
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except (ValueError, RecursionError):
            return {}
        return claims if isinstance(claims, dict) else {}

    def service_account(self) -> str:
        match str(self.claims().get("sub", "")).split(":"):
            case ["system", "serviceaccount", _, account]:
                return account
        return ""

    def scrub(self, text: str) -> str:
        """The text without the token, should whoever refused it have repeated it."""
        for secret in (self.value, self.value.rpartition(".")[2]):
            text = text.replace(secret, "<token>") if secret else text
        return text


def read_token(path: str) -> Token:
    """Read it anew: the kubelet replaces it under us. Raises `TokenError`."""
    try:
        value = read_file(path).decode("ascii", "replace").strip()
    except OSError as error:
        raise TokenError(f"token {path} cannot be read: {error.strerror}; {_ADVICE}") from error
    if not value:
        raise TokenError(f"token {path} is empty; {_ADVICE}")
    if not _PRINTABLE.issuperset(value):  # grpcio would print it in its complaint
        raise TokenError(f"token {path} is no token: it has characters that none has; {_ADVICE}")
    return Token(value, path)
