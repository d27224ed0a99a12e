"""What is required of a request's tokens, as a tree of functions (Envoy's jwt_authn/verifier.cc)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.faults import Fault
from rpc.authorization.jwt.places import places
from rpc.authorization.jwt.provider import Passed, sanitised
from rpc.authorization.jwt.token import read_token
from rpc.authorization.program import CannotCarryOutError
from xds_client.model import AllowMissing, AllowMissingOrFailed, AllRequirements, AnyRequirement, OfProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rpc.authorization.jwt.places import Place
    from rpc.authorization.jwt.provider import Look, Provider, Verified
    from xds_client.model import JwtRequirement

_WEAK = (faults.MISSING, faults.UNKNOWN_ISSUER)  # of several faults another one is told of; else the later of these


class Requirement(Protocol):
    def __call__(self, look: Look, /) -> Fault | None:
        """None: it is met."""


def requirement(said: JwtRequirement, providers: Mapping[str, Provider]) -> Requirement:
    """Raises `CannotCarryOutError` for a provider that nobody configured, as Envoy does."""
    if isinstance(said, OfProvider):
        if said.provider_name not in providers:
            raise CannotCarryOutError(f"required provider {said.provider_name!r} is not configured", invalid=True)
        return _OfProvider(providers[said.provider_name], said.audiences)
    if isinstance(said, AnyRequirement):
        return _any(said, providers)
    if isinstance(said, AllRequirements):
        return _All([requirement(one, providers) for one in said.requirements])
    return _OfAnybody([*providers.values()], allow_failed=isinstance(said, AllowMissingOrFailed))


class _OfProvider:
    """All tokens of a provider's places are good ones of it; the last is looked at first."""

    def __init__(self, provider: Provider, audiences: tuple[str, ...] | None) -> None:
        self._provider = provider
        self._audiences = sanitised(audiences) if audiences else None
        self._places = places(provider.said)

    def __call__(self, look: Look) -> Fault | None:
        found = _found(self._places, look)
        if not found:
            return faults.MISSING
        for place, text in reversed(found):
            verdict = self._provider.judge(text, look.now, self._audiences)
            if isinstance(verdict, Fault):
                return verdict
            _pass_on(self._provider, verdict, place, look)
        return None


def _pass_on(provider: Provider, verified: Verified, place: Place, look: Look) -> None:
    provider.pass_on(verified, place, look.request)
    look.passed.append(Passed(provider, verified, place))


def _found(where: Sequence[Place], look: Look) -> list[tuple[Place, bytes]]:
    return [(place, text) for place in where for text in place.tokens(look.request)]


class _OfAnybody:
    """``allow_missing`` and ``allow_missing_or_failed`` without a provider beside them: tokens of any provider."""

    def __init__(self, providers: Sequence[Provider], *, allow_failed: bool) -> None:
        self._allow_failed = allow_failed
        self._places: dict[Place, list[Provider]] = {}
        for provider in providers:
            for place in places(provider.said):
                self._places.setdefault(place, []).append(provider)
        self._by_issuer = {provider.said.issuer: provider for provider in reversed(providers)}

    def __call__(self, look: Look) -> Fault | None:
        fault = None
        for place, text in reversed(_found([*self._places], look)):
            fault = self._faulty(place, text, look)
            look.doubted = look.doubted or fault is not None
        return None if self._allow_failed else fault

    def _faulty(self, place: Place, text: bytes, look: Look) -> Fault | None:
        token = read_token(text)
        if isinstance(token, Fault):
            return token
        issuers = {provider.said.issuer for provider in self._places[place]}
        provider = self._by_issuer.get(token.issuer) or self._by_issuer.get("")
        if provider is None or not issuers & {token.issuer, ""}:
            return faults.UNKNOWN_ISSUER
        verdict = provider.judge(text, look.now)
        if isinstance(verdict, Fault):
            return verdict
        _pass_on(provider, verdict, place, look)
        return None


def _any(said: AnyRequirement, providers: Mapping[str, Provider]) -> Requirement:
    lenient = [one for one in said.requirements if isinstance(one, (AllowMissing, AllowMissingOrFailed))]
    strict = [requirement(one, providers) for one in said.requirements if one not in lenient]
    allow_failed = any(isinstance(one, AllowMissingOrFailed) for one in lenient)
    if not strict:
        return _OfAnybody([*providers.values()], allow_failed=allow_failed)
    return _Any(strict, allow_missing=bool(lenient), allow_failed=allow_failed)


class _Any:
    def __init__(self, requirements: Sequence[Requirement], *, allow_missing: bool, allow_failed: bool) -> None:
        self._requirements = requirements
        self._allow_missing = allow_missing
        self._allow_failed = allow_failed

    def __call__(self, look: Look) -> Fault | None:
        told = faults.MISSING
        for one in self._requirements:
            fault = one(look)
            if fault is None:
                return None
            look.doubted = look.doubted or fault not in _WEAK
            if fault not in _WEAK or told is faults.MISSING:
                told = fault
        return None if self._allow_failed or (self._allow_missing and told is faults.MISSING) else told


class _All:
    def __init__(self, requirements: Sequence[Requirement]) -> None:
        self._requirements = requirements

    def __call__(self, look: Look) -> Fault | None:
        for one in self._requirements:
            fault = one(look)
            if fault is not None:
                return fault
        return None
