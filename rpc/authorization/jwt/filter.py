"""``envoy.filters.http.jwt_authn``: RequestAuthentication, compiled to one step of a chain's program."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.keys import NoKeysError, read_keys
from rpc.authorization.jwt.met import Met, header_of
from rpc.authorization.jwt.places import places
from rpc.authorization.jwt.provider import Look, Provider
from rpc.authorization.jwt.remote import remote_keys
from rpc.authorization.jwt.requirement import requirement
from rpc.authorization.matching import Looked
from rpc.authorization.per_route import routes_speak_to
from rpc.authorization.program import CannotCarryOutError, carries_out
from rpc.header_match import ALL_PATHS, path_match
from xds_client.model import JwtAuthentication, PathMatchKind, RouteMatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rpc.authorization.decision import Decision, Refusal
    from rpc.authorization.jwt.faults import Fault
    from rpc.authorization.jwt.keys import KeySet
    from rpc.authorization.jwt.places import Place
    from rpc.authorization.jwt.provider import KeySource
    from rpc.authorization.jwt.requirement import Requirement
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request
    from xds_client.model import DataSource, JwtProvider, JwtRequirement, JwtRule

TYPE = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
METADATA = "envoy.filters.http.jwt_authn"  # where policies look for claims, whatever the filter is called


@dataclass(frozen=True, slots=True)
class _Known:
    """Keys that the configuration brought along."""

    current: KeySet | Fault | None

    def when_known(self, callback: Callable[[], None]) -> None:
        callback()


@dataclass(frozen=True, slots=True)
class _Rule:
    """``requires`` None: nothing."""

    matches: Callable[[Request], bool]
    requires: Requirement | None


def compiled(said: JwtAuthentication, surroundings: Surroundings) -> Step:
    """The same for the same: a push that changes something else leaves the tokens known that were verified."""
    _refuse_what_istiod_never_says(said, surroundings)
    step = _steps.get(said)
    if step is None:
        providers = {name: Provider(provider, _keys(name, provider)) for name, provider in said.providers}
        step = _steps[said] = _Authentication(said, providers)
    return step


def _refuse_what_istiod_never_says(said: JwtAuthentication, surroundings: Surroundings) -> None:
    if said.filter_state_rules is not None:
        raise CannotCarryOutError("filter_state_rules")
    for name, provider in said.providers:
        if provider.subjects is not None:
            raise CannotCarryOutError(f"subjects of provider {name!r}")
        if provider.failed_status_in_metadata:
            raise CannotCarryOutError(f"failed_status_in_metadata of provider {name!r}")
    if routes_speak_to(surroundings):
        raise CannotCarryOutError("what a route says of it (typed_per_filter_config)")


def _keys(name: str, provider: JwtProvider) -> KeySource:
    if provider.remote_jwks is not None:
        return remote_keys(provider.remote_jwks)
    text = _inline(name, provider.local_jwks)
    if not text:
        return _Known(faults.NO_VALID_KEYS)  # which Envoy takes for an answer
    try:
        return _Known(read_keys(text))
    except NoKeysError as error:  # as Envoy, which goes on with the configuration that it has
        raise CannotCarryOutError(f"provider {name!r} has invalid local jwks: {error}", invalid=True) from error


def _inline(name: str, source: DataSource | None) -> bytes:
    if source is None or source.inline is None:
        raise CannotCarryOutError(f"keys of provider {name!r} that do not stand in the configuration")
    return source.inline


class _Authentication:
    def __init__(
        self, said: JwtAuthentication, providers: Mapping[str, Provider], clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._silent = said.strip_failure_response
        self._lets_preflights_by = said.bypass_cors_preflight
        self._rules = tuple(_rule(rule, said, providers) for rule in said.rules)
        self._only = self._rules[0] if self._rules and self._rules[0].matches is _any_request else None
        self._ours = tuple(_headers_of_ours(providers.values()))
        header = header_of([place for provider in providers.values() for place in places(provider.said)])
        self._met = Met(header) if header and self._only is not None else None
        self._fetched = [(p.keys, places(p.said)) for p in providers.values() if not isinstance(p.keys, _Known)]

    def __call__(self, request: Request) -> Decision:
        for name in self._ours:  # what a client says there is none of ours
            if request.values(name):
                request.remove(name)
        if self._lets_preflights_by and _is_preflight(request):
            return None
        shown = None
        if self._met is not None:
            shown, known = self._met.known(request)
            if known is not None and known.provider.still(known.verified, self._clock()):
                known.provider.pass_on(known.verified, known.place, request)
                if known.verified.found:
                    request.head.dynamic_metadata[METADATA] = known.verified.found
                return None
        rule = self._only or next((rule for rule in self._rules if rule.matches(request)), None)
        if rule is None or rule.requires is None:
            return None
        if self._fetched:
            waits_for = [keys for keys, where in self._fetched if keys.current is None and _has_token(request, where)]
            if waits_for:
                return _later(self, rule.requires, request, waits_for)
        return self.judged(rule.requires, request, shown)

    def judged(self, requires: Requirement, request: Request, shown: bytes | None = None) -> Refusal | None:
        """``shown``: by what the same request is known again."""
        look = Look(request, self._clock())
        fault = requires(look)
        if fault is not None:
            return fault.refusal(request, silent=self._silent)
        found = {name: said for passed in look.passed for name, said in passed.verified.found.items()}
        if found:
            request.metadata[METADATA] = found
        if shown is not None and self._met is not None:
            self._met.remember(shown, look)
        return None


def _has_token(request: Request, where: Sequence[Place]) -> bool:
    return any(True for place in where for _ in place.tokens(request))


def _later(step: _Authentication, requires: Requirement, request: Request, waits_for: list[KeySource]) -> Decision:
    """When all keys are known, or known not to be had: each source answers within its time-out."""
    decision: Future[Refusal | None] = Future()

    def known() -> None:
        if waits_for:
            waits_for.pop().when_known(known)
        elif decision.set_running_or_notify_cancel():
            try:
                decision.set_result(step.judged(requires, request))
            except BaseException as error:
                decision.set_exception(error)

    known()
    return decision


def _headers_of_ours(providers: Iterable[Provider]) -> set[str]:
    names: set[str] = set()
    for provider in providers:
        names.update(header.lower() for header, _ in provider.said.claim_to_headers)
        if provider.said.forward_payload_header:
            names.add(provider.said.forward_payload_header.lower())
    return names


def _is_preflight(request: Request) -> bool:
    """A browser asks so, without credentials, whether it may send a request at all."""
    if request.values(":method") != [b"OPTIONS"]:
        return False
    return bool(request.text("origin") and request.text("access-control-request-method"))


# ---- rules


def _rule(said: JwtRule, filters: JwtAuthentication, providers: Mapping[str, Provider]) -> _Rule:
    requires = said.requires
    if said.requirement_name is not None:
        by_name: dict[str, JwtRequirement] = dict(filters.requirement_map)
        if said.requirement_name not in by_name:
            raise CannotCarryOutError(f"wrong requirement_name: {said.requirement_name}", invalid=True)
        requires = by_name[said.requirement_name]
    return _Rule(_matcher(said.match), requirement(requires, providers) if requires is not None else None)


def _any_request(_: Request) -> bool:
    """Every path begins with a slash."""
    return True


def _matcher(match: RouteMatch | None) -> Callable[[Request], bool]:
    """Istiod says ``prefix: /``. By path only: more than that it never says."""
    if match is None or match != RouteMatch(match.path) or match.path.kind is PathMatchKind.REGEX:
        raise CannotCarryOutError(f"a rule for {match}")
    if match.path.kind is PathMatchKind.PREFIX and match.path.value in ALL_PATHS:
        return _any_request
    path = path_match(match.path)
    return lambda request: path(request.path.partition("?")[0].partition("#")[0], Looked())


_steps: weakref.WeakValueDictionary[JwtAuthentication, _Authentication] = weakref.WeakValueDictionary()
carries_out(TYPE, JwtAuthentication, compiled)
