"""A JSON Web Token, read but not believed: what it says and what stands in it signed. Pure; whatever comes, it answers.

The checks and their order are those of Envoy's source/common/jwt/jwt.cc: the first that fails is what the caller reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.text import read_object, unescape

if TYPE_CHECKING:
    from rpc.authorization.jwt.faults import Fault
    from rpc.authorization.jwt.text import Json

LONGEST = 64 * 1024  # bytes: as much as the engine takes of a request's headers
ALGORITHMS = frozenset(f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in ("256", "384", "512")) | {
    "EdDSA"
}
_BEYOND = 2.0**64
_PARTS = 3


@dataclass(frozen=True, slots=True)
class Token:
    """``payload``: as it came, in base64url. ``exp`` 0: it never expires, as Envoy has it."""

    header: dict[str, Json]
    claims: dict[str, Json]
    payload: bytes
    signed: bytes
    signature: bytes
    algorithm: str
    key: str
    issuer: str
    subject: str
    audiences: tuple[str, ...]
    not_before: int
    expires: int

    def untimely(self, now: float, skew: int) -> Fault | None:
        if now + skew < self.not_before:
            return faults.NOT_YET_VALID
        if self.expires and now > self.expires + skew:
            return faults.EXPIRED
        return None


class _BadError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


def read_token(text: bytes) -> Token | Fault:
    parts = [part for part in text.split(b".") if part] if len(text) <= LONGEST else ()
    if len(parts) != _PARTS:
        return faults.BAD_FORMAT
    try:
        return _token(*parts)
    except _BadError as error:
        return error.fault


def _token(head: bytes, payload: bytes, signature: bytes) -> Token:
    header = _object(head, faults.BAD_HEADER_BASE64, faults.BAD_HEADER_JSON)
    algorithm = _string(header, "alg", faults.BAD_ALG)
    if "alg" not in header:
        raise _BadError(faults.BAD_ALG)
    if algorithm not in ALGORITHMS:
        raise _BadError(faults.UNKNOWN_ALG)
    key = _string(header, "kid", faults.BAD_KID)
    claims = _object(payload, faults.BAD_PAYLOAD_BASE64, faults.BAD_PAYLOAD_JSON)
    issuer = _string(claims, "iss", faults.no_string("iss"))
    subject = _string(claims, "sub", faults.no_string("sub"))
    _seconds(claims, "iat")
    not_before = _seconds(claims, "nbf")
    expires = _seconds(claims, "exp")
    _string(claims, "jti", faults.no_string("jti"))
    audiences = _audiences(claims)
    signed = unescape(signature)
    if signed is None:
        raise _BadError(faults.BAD_SIGNATURE_BASE64)
    return Token(
        header=header,
        claims=claims,
        payload=payload,
        signed=head + b"." + payload,
        signature=signed,
        algorithm=algorithm,
        key=key,
        issuer=issuer,
        subject=subject,
        audiences=audiences,
        not_before=not_before,
        expires=expires,
    )


def _object(part: bytes, no_base64: Fault, no_json: Fault) -> dict[str, Json]:
    text = unescape(part)
    if text is None:
        raise _BadError(no_base64)
    found = read_object(text)
    if found is None:
        raise _BadError(no_json)
    return found


def _string(said: dict[str, Json], name: str, fault: Fault) -> str:
    found = said.get(name, "")
    if not isinstance(found, str):
        raise _BadError(fault)
    return found


def _seconds(claims: dict[str, Json], name: str) -> int:
    found = claims.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise _BadError(faults.no_integer(name))
    if not 0 <= float(found) < _BEYOND:
        raise _BadError(faults.out_of_range(name))
    return int(found)


def _audiences(claims: dict[str, Json]) -> tuple[str, ...]:
    found = claims.get("aud", [])
    several = found if isinstance(found, list) else [found]
    audiences = tuple(one for one in several if isinstance(one, str))
    if len(audiences) != len(several):
        raise _BadError(faults.BAD_AUDIENCE)
    return audiences
