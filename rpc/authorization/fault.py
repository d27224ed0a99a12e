"""``envoy.filters.http.fault``: requests that are delayed or aborted on purpose. Istiod's own has nothing to say."""

from __future__ import annotations

import random
from concurrent.futures import Future
from typing import TYPE_CHECKING

from rpc.authorization.local_reply import local_reply
from rpc.authorization.matching import InvalidPatternError, headers_match
from rpc.authorization.per_route import only_route, said_by_routes
from rpc.authorization.program import CannotCarryOutError, carries_out
from rpc.schedule import schedule
from xds_client.model import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.decision import Decision, Refusal
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request
    from xds_client.model import FaultAbort, FaultDelay

TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault"
_NODE = "x-envoy-downstream-service-node"
_DELAY, _DELAY_SHARE = "x-envoy-fault-delay-request", "x-envoy-fault-delay-request-percentage"
_ABORT, _ABORT_SHARE = "x-envoy-fault-abort-request", "x-envoy-fault-abort-request-percentage"
_ABORT_BY_CODE = "x-envoy-fault-abort-grpc-request"
_PER_MILLION = 1_000_000
_PER_CENT = 10_000  # per million
_STATUSES = range(200, 600)
_CODES = range(17)
_DIGITS = 9
MOST_DELAYED = 1000  # of one filter at a time; what comes beside them is not delayed
_TEXT, _WHY = "fault filter abort", "fault_filter_abort"


def compiled(said: Fault, around: Surroundings) -> Step | None:
    by_routes, disabled = said_by_routes(around, Fault)
    said = by_routes[-1] if by_routes else said
    if disabled or (said.delay is None and said.abort is None and said.response_rate_limit is None):
        return None
    for name in ("max_active_faults", "response_rate_limit"):
        if getattr(said, name) is not None:
            raise CannotCarryOutError(name)
    if said.upstream_cluster and said.upstream_cluster != _cluster(around):
        return None
    try:
        return _Faults(said)
    except InvalidPatternError as error:
        raise CannotCarryOutError(str(error), invalid=True) from error


def _cluster(around: Surroundings) -> str | None:
    routes = around.manager.routes if around.manager is not None else None
    only = only_route(routes) if routes is not None else None
    if only is None or only[1].forward is None or only[1].forward.cluster is None:
        raise CannotCarryOutError("upstream_cluster, and requests have several")
    return only[1].forward.cluster


class _Faults:
    def __init__(self, said: Fault) -> None:
        """Raises `InvalidPatternError`."""
        self._delay = said.delay
        self._abort = said.abort
        self._nodes = frozenset(said.downstream_nodes)
        self._is_for = headers_match(said.headers)
        self._delayed: set[Future[Refusal | None]] = set()

    def __call__(self, request: Request) -> Decision:
        if self._nodes and request.text(_NODE) not in self._nodes:
            return None
        if not self._is_for(request):
            return None
        seconds = _seconds(self._delay, request) if self._delay is not None else None
        if seconds:
            abort = self._abort
            waits = self._later(seconds, lambda: None if abort is None else _refusal(abort, request))
            if waits is not None:
                return waits
        return None if self._abort is None else _refusal(self._abort, request)

    def _later(self, seconds: float, decide: Callable[[], Refusal | None]) -> Decision:
        """None: it is not to wait."""
        decision: Future[Refusal | None] = Future()
        if len(self._delayed) >= MOST_DELAYED:
            return None

        def due() -> None:
            if decision.set_running_or_notify_cancel():
                try:
                    decision.set_result(decide())
                except Exception as error:
                    decision.set_exception(error)

        scheduled = schedule.after(seconds, due)
        if scheduled is None:
            return None
        self._delayed.add(decision)

        def over(decided: Future[Refusal | None]) -> None:
            self._delayed.discard(decided)
            if decided.cancelled():
                scheduled.cancel()

        decision.add_done_callback(over)
        return decision


def _seconds(delay: FaultDelay, request: Request) -> float | None:
    if not _meant(delay.percentage, _number(request, _DELAY_SHARE) if delay.header_delay else None):
        return None
    if not delay.header_delay:
        return delay.fixed_delay
    milliseconds = _number(request, _DELAY)
    return None if milliseconds is None else milliseconds / 1000


def _refusal(abort: FaultAbort, request: Request) -> Refusal | None:
    if not _meant(abort.percentage, _number(request, _ABORT_SHARE) if abort.header_abort else None):
        return None
    status, code = abort.http_status, abort.grpc_status
    if abort.header_abort:
        status, code = _number(request, _ABORT), _number(request, _ABORT_BY_CODE)
        status = status if status in _STATUSES else None
        code = code if code in _CODES and status is None else None
    if status is None and code is None:
        return None
    return local_reply(status or 200, _TEXT, why=_WHY, code=code)


def _meant(per_million: int | None, per_cent: int | None) -> bool:
    """``per_cent``: what a header says, which can only make it less."""
    share = per_million or 0
    if per_cent is not None:
        share = min(share, per_cent * _PER_CENT)
    return random.randrange(_PER_MILLION) < share  # noqa: S311 - a share, not a secret


def _number(request: Request, name: str) -> int | None:
    text = request.text(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


carries_out(TYPE, Fault, compiled)
