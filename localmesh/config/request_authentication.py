"""RequestAuthentication: whose tokens are good. Field meanings and refusals are Istio's (security/v1)."""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from localmesh.config.attachment import Attached
from localmesh.config.decode import Spec, too_fine
from localmesh.config.key_set import fault_of_key_set

_OF_HEADER_NAMES = frozenset(f"{string.ascii_letters}{string.digits}-_")
_HEXADECIMAL = frozenset(string.hexdigits)
_LONGEST_URI = 8192


@dataclass(frozen=True, slots=True)
class JwtHeader(Spec):
    name: str
    prefix: str = ""

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.name:
            yield "name", "must not be empty"


@dataclass(frozen=True, slots=True)
class ClaimToHeader(Spec):
    header: str
    claim: str

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.claim:
            yield "claim", "must not be empty"
        if not self.header or not _OF_HEADER_NAMES.issuperset(self.header):
            yield "header", f"{self.header!r} is not the name of a header (letters, digits, - and _)"


@dataclass(frozen=True, slots=True)
class JwtRule(Spec):
    """``jwks`` has the keys; else they are at ``jwks_uri``, or where the issuer says (OpenID Connect Discovery)."""

    issuer: str = ""
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    jwks: str = ""
    from_headers: tuple[JwtHeader, ...] = ()
    from_params: tuple[str, ...] = ()
    from_cookies: tuple[str, ...] = ()
    output_payload_to_header: str = ""
    forward_original_token: bool = False
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    timeout: timedelta | None = None
    space_delimited_claims: tuple[str, ...] = ()

    def problems(self) -> Iterator[tuple[str, str]]:
        if not self.issuer and not self.jwks_uri:
            yield "", "needs issuer or jwksUri"
        lists = (("audiences", self.audiences), ("fromParams", self.from_params), ("fromCookies", self.from_cookies))
        yield from ((name, "has an empty value") for name, values in lists if "" in values)
        if self.jwks_uri and (reason := _fault_of_uri(self.jwks_uri)):
            yield "jwksUri", reason
        if self.jwks and (reason := fault_of_key_set(self.jwks)):
            yield "jwks", reason
        if reason := too_fine(self.timeout):
            yield "timeout", reason


def _fault_of_uri(uri: str) -> str | None:
    """What Go's net/url would not read, or is for no HTTP client."""
    if len(uri) > _LONGEST_URI or not uri.isprintable():
        return f"{uri[:80]!r} is not a URL"
    try:
        parts = urlsplit(uri)
        port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    except ValueError as error:
        return f"{uri!r} is not a URL: {error}"
    if parts.scheme not in ("http", "https"):
        return f"{uri!r} begins with neither http:// nor https://"
    if " " in parts.netloc or (port and not (port.isascii() and port.isdigit())):
        return f"{uri!r} is not a URL: {parts.netloc!r} is no host and port"
    escapes = (after[:2] for after in uri.split("%")[1:])
    if any(len(escape) < len("00") or not _HEXADECIMAL.issuperset(escape) for escape in escapes):
        return f"{uri!r} is not a URL: a % is not followed by two hexadecimal digits"
    return None


@dataclass(frozen=True, slots=True)
class RequestAuthentication(Attached):
    jwt_rules: tuple[JwtRule, ...] = ()
