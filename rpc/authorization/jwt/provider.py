"""One issuer's tokens: what they must be like, and what becomes of good ones. Threads share it.

The order of the checks is that of Envoy's jwt_authn/authenticator.cc. What was verified is remembered by the token:
met again it costs one lookup, and is checked against what changes: the time, and the keys in force.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.faults import Fault
from rpc.authorization.jwt.outputs import header_value, normalised
from rpc.authorization.jwt.token import Token, read_token

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rpc.authorization.jwt.keys import KeySet
    from rpc.authorization.jwt.places import Place
    from rpc.authorization.jwt.text import Json
    from rpc.authorization.request import Request
    from xds_client.model import JwtProvider

_SKEW = 60  # seconds
_REMEMBERED, _LONGEST = 1000, 4096  # tokens, and bytes of one (Envoy's jwt_cache has 100 of as many)


class KeySource(Protocol):
    @property
    def current(self) -> KeySet | Fault | None:
        """None: nobody knows yet."""

    def when_known(self, callback: Callable[[], None]) -> None:
        """Calls back once, in any thread or at once."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A good token of one provider. ``found`` and ``headers``: what policies and handlers see of it."""

    token: Token
    keys: KeySet
    audiences: frozenset[str]
    found: dict[str, dict[str, Json]]
    headers: tuple[tuple[str, bytes], ...]


class Passed(NamedTuple):
    """A token that was handed on."""

    provider: Provider
    verified: Verified
    place: Place


class Look:
    """One request that is looked at, and the tokens that were handed on so far.

    ``doubted``: something failed that need not fail for the same tokens another time.
    """

    __slots__ = ("doubted", "now", "passed", "request")

    def __init__(self, request: Request, now: float) -> None:
        self.request = request
        self.now = now
        self.passed: list[Passed] = []
        self.doubted = False


class Provider:
    def __init__(self, said: JwtProvider, keys: KeySource) -> None:
        self.said = said
        self.keys = keys
        self.audiences = sanitised(said.audiences)
        self._skew = said.clock_skew_seconds or _SKEW
        self._bounded = said.require_expiration or said.max_lifetime is not None
        self._spaced = said.space_delimited_claims or ()
        self._verified: dict[bytes, Verified] = {}
        self._remembering = threading.Lock()

    def judge(self, text: bytes, now: float, audiences: frozenset[str] | None = None) -> Verified | Fault:
        """``audiences``: in place of the provider's own."""
        known = self._verified.get(text)
        if known is not None and known.keys is self.keys.current:
            return self._inadmissible(known.token, known.audiences, now, audiences) or known
        token = read_token(text)
        if isinstance(token, Fault):
            return token
        if self.said.issuer and token.issuer != self.said.issuer:
            return faults.UNKNOWN_ISSUER
        said = sanitised(token.audiences)
        fault = self._inadmissible(token, said, now, audiences)
        keys = self.keys.current
        if fault is not None:
            return fault
        if keys is None or isinstance(keys, Fault):
            return keys or faults.FETCH_FAILED
        fault = keys.not_signed(token)
        return fault if fault is not None else self._remember(text, token, keys, said)

    def _inadmissible(
        self, token: Token, said: frozenset[str], now: float, audiences: frozenset[str] | None
    ) -> Fault | None:
        """What may change from one call with it to the next."""
        untimely = token.untimely(now, self._skew)
        if untimely is not None:
            return untimely
        wanted = self.audiences if audiences is None else audiences
        if wanted and wanted.isdisjoint(said):
            return faults.AUDIENCE_NOT_ALLOWED
        return faults.VERIFICATION_FAILS if self._bounded and self._too_long(token, now) else None

    def _too_long(self, token: Token, now: float) -> bool:
        most = self.said.max_lifetime
        return not token.expires or (most is not None and token.expires - now >= most)

    def _remember(self, text: bytes, token: Token, keys: KeySet, audiences: frozenset[str]) -> Verified | Fault:
        headers = []
        if self.said.forward_payload_header:
            padding = b"=" * (-len(token.payload) % 4) if self.said.pad_forward_payload_header else b""
            headers.append((self.said.forward_payload_header.lower(), token.payload + padding))
        for name, claim in self.said.claim_to_headers:
            value = header_value(token.claims, claim)
            if not all(character >= " " or character == "\t" for character in value) or "\x7f" in value:
                return Fault(f"invalid header value for: {name.lower()}", grpc.StatusCode.UNAVAILABLE.value[0])
            if value:
                headers.append((name.lower(), value.encode()))
        found = {self.said.header_in_metadata: token.header} if self.said.header_in_metadata else {}
        if self.said.payload_in_metadata:
            found[self.said.payload_in_metadata] = normalised(token.claims, self._spaced)
        verified = Verified(token, keys, audiences, found, tuple(headers))
        if len(text) <= _LONGEST:
            with self._remembering:
                while len(self._verified) >= _REMEMBERED:
                    del self._verified[next(iter(self._verified))]
                self._verified[text] = verified
        return verified

    def still(self, verified: Verified, now: float) -> bool:
        """Whether what was verified, for an audience that was allowed, is as good now."""
        if verified.keys is not self.keys.current or verified.token.untimely(now, self._skew) is not None:
            return False
        return not (self._bounded and self._too_long(verified.token, now))

    def pass_on(self, verified: Verified, place: Place, request: Request) -> None:
        """To later filters and the handler, but for what is found."""
        for name, value in verified.headers:
            request.replace(name, [*request.values(name), value])
        if not self.said.forward:
            place.clear(request)


def sanitised(audiences: Collection[str]) -> frozenset[str]:
    """They are the same with http:// or https:// and without, and with one slash at the end and without."""
    return frozenset(_sanitised(one) for one in audiences)


def _sanitised(audience: str) -> str:
    for scheme in ("http://", "https://"):
        if audience.startswith(scheme):
            audience = audience.removeprefix(scheme)
            break
    return audience.removesuffix("/")
