"""``envoy.filters.http.ext_authz``: a CUSTOM policy's question, compiled to one step of a chain's program."""

from __future__ import annotations

import logging
import random
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from rpc.authorization.ext_authz.attributes import Attributes
from rpc.authorization.ext_authz.http_service import HttpChecks
from rpc.authorization.ext_authz.service import GrpcChecks
from rpc.authorization.ext_authz.verdict import METADATA, Allowed, Denied, Failed
from rpc.authorization.local_reply import local_reply
from rpc.authorization.matching import InvalidPatternError, metadata_match
from rpc.authorization.per_route import said_by_routes
from rpc.authorization.program import CannotCarryOutError, carries_out
from rpc.seldom import Seldom
from xds_client.model import ExtAuthz, ExtAuthzPerRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.decision import Decision, Refusal
    from rpc.authorization.ext_authz.verdict import Verdict
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request

TYPE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
MOST_CHECKS = 1024  # of one filter at a time, as Envoy's clusters have it where nobody says another number
_ALLOWED_IN_FAILURE = "x-envoy-auth-failure-mode-allowed"
_PER_MILLION = 1_000_000

_log = logging.getLogger(f"proxyless.{__name__}")
_warnings = Seldom(_log)


class Service(Protocol):
    @property
    def name(self) -> str: ...

    def ask(self, check: Any, answered: Callable[[Verdict], None]) -> Callable[[], object]: ...


def compiled(said: ExtAuthz, around: Surroundings) -> Step | None:
    per_route, disabled = said_by_routes(around, ExtAuthzPerRoute)
    if disabled or (per_route and per_route[-1].disabled):
        return None
    _refuse_what_nobody_carries_out(said, per_route)
    extensions: dict[str, str] = {}
    for route in per_route:
        if route.check_settings is not None:
            extensions |= dict(route.check_settings.context_extensions)
    try:
        attributes = Attributes(said, around, extensions)
        if said.http_service is not None:
            return _ExternalAuthorization(said, attributes, HttpChecks(said.http_service, around.mesh))
        assert said.grpc_service is not None
        return _ExternalAuthorization(said, attributes, GrpcChecks(said.grpc_service, around.mesh))
    except InvalidPatternError as error:
        raise CannotCarryOutError(str(error), invalid=True) from error


def _refuse_what_nobody_carries_out(said: ExtAuthz, per_route: tuple[ExtAuthzPerRoute, ...]) -> None:
    if said.grpc_service is None and said.http_service is None:
        raise CannotCarryOutError("it has no service", invalid=True)
    if said.with_request_body is not None:
        raise CannotCarryOutError("with_request_body: calls are decided before their messages come")
    if said.bootstrap_metadata_labels_key:
        raise CannotCarryOutError("bootstrap_metadata_labels_key")
    if said.decoder_header_mutation_rules is not None:
        raise CannotCarryOutError("decoder_header_mutation_rules")
    if said.route_metadata_context_namespaces or said.route_typed_metadata_context_namespaces:
        raise CannotCarryOutError("route_metadata_context_namespaces")
    for settings in (route.check_settings for route in per_route):
        if settings is None:
            continue
        for name in ("with_request_body", "grpc_service", "http_service"):
            if getattr(settings, name) is not None:
                raise CannotCarryOutError(f"{name} of a route")


class _ExternalAuthorization:
    def __init__(self, said: ExtAuthz, attributes: Attributes, service: Service) -> None:
        """Raises `InvalidPatternError`."""
        self._said = said
        self._attributes = attributes
        self._service = service
        self._share = said.filter_enabled.per_million if said.filter_enabled is not None else None
        self._is_for = None if said.filter_enabled_metadata is None else metadata_match(said.filter_enabled_metadata)
        self._denies_where_disabled = said.deny_at_disable is not None and said.deny_at_disable.default_value
        self._error = local_reply(said.status_on_error or 403, why="ext_authz_error")
        # No lock: whoever tells of the end of a call may be the garbage collector.
        self._asking: set[Future[Refusal | None]] = set()

    def __call__(self, request: Request) -> Decision:
        if not self._enabled(request):
            return self._error if self._denies_where_disabled else None
        if len(self._asking) >= MOST_CHECKS:
            return self._failed(request, Failed(f"{MOST_CHECKS} requests wait for it already"))
        return self._asked(request)

    def _enabled(self, request: Request) -> bool:
        share = self._share
        if share is not None and random.randrange(_PER_MILLION) >= share:  # noqa: S311 - a share, not a secret
            return False
        return self._is_for is None or self._is_for(request)

    def _asked(self, request: Request) -> Decision:
        decision: Future[Refusal | None] = Future()
        begun = time.monotonic()

        def answered(verdict: Verdict) -> None:
            self._asking.discard(decision)
            if not decision.set_running_or_notify_cancel():
                return  # the call is over
            try:
                decision.set_result(self._judged(request, verdict, time.monotonic() - begun))
            except BaseException as error:
                decision.set_exception(error)

        check = self._attributes.of(request)
        self._asking.add(decision)
        try:
            give_up = self._service.ask(check, answered)
        except BaseException:
            self._asking.discard(decision)
            raise
        decision.add_done_callback(lambda decided: give_up() if decided.cancelled() else None)
        return decision

    def _judged(self, request: Request, verdict: Verdict, seconds: float) -> Refusal | None:
        outcome = verdict.outcome
        if verdict.found and self._said.enable_dynamic_metadata_ingestion is not False:
            took = {"ext_authz_duration": float(int(seconds * 1000))} if isinstance(outcome, Allowed) else {}
            request.metadata[METADATA] = dict(verdict.found) | took
        match outcome:
            case Allowed():
                return outcome.applied(request, strictly=self._said.validate_mutations)
            case Denied():
                longest = self._said.max_denied_response_body_bytes
                if longest:
                    text = outcome.text.encode()[:longest].decode(errors="ignore")
                    outcome = Denied(outcome.status, text, outcome.headers)
                return outcome.refusal(strictly=self._said.validate_mutations)
            case Failed():
                return self._failed(request, outcome)

    def _failed(self, request: Request, failed: Failed) -> Refusal | None:
        opens = self._said.failure_mode_allow
        _warnings.warn(
            f"{request.path!r:.200} is {'' if opens else 'not '}let in: {self._service.name} was asked and gave no "
            f"answer: {failed.reason}"
        )
        if opens:
            if self._said.failure_mode_allow_header_add:
                request.replace(_ALLOWED_IN_FAILURE, [*request.values(_ALLOWED_IN_FAILURE), b"true"])
            return None
        if failed.status is None and not failed.text and not failed.headers:
            return self._error
        status = failed.status or self._said.status_on_error or 403
        return local_reply(status, failed.text, why="ext_authz_error", headers=failed.headers)


carries_out(TYPE, ExtAuthz, compiled)
