"""``envoy.filters.http.local_ratelimit``, compiled to one step of a chain's program."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from rpc.authorization.local_rate_limit.buckets import Limiter, Recent
from rpc.authorization.local_rate_limit.descriptors import Descriptors
from rpc.authorization.local_reply import RESOURCE_EXHAUSTED, local_reply
from rpc.authorization.matching import InvalidPatternError
from rpc.authorization.mutations import additions
from rpc.authorization.per_route import said_by_routes
from rpc.authorization.program import CannotCarryOutError, carries_out
from xds_client.model import LocalRateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.decision import Decision
    from rpc.authorization.local_rate_limit.buckets import Bucket
    from rpc.authorization.program import Step, Surroundings
    from rpc.authorization.request import Request

TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_TOO_MANY = 429
_ERRORS = range(400, 600)
_PER_MILLION = 1_000_000
_CONNECTIONS = 16_384  # with a limit of their own; of more the ones that have been quiet longest begin anew


def compiled(said: LocalRateLimit, around: Surroundings, clock: Callable[[], float] = time.monotonic) -> Step | None:
    by_routes, disabled = said_by_routes(around, LocalRateLimit)
    if by_routes:
        said = by_routes[-1]
        if said.token_bucket is None:
            raise CannotCarryOutError("token bucket must be set for per filter configs", invalid=True)
    if disabled or said.token_bucket is None or said.filter_enabled is None or not said.filter_enabled.per_million:
        return None
    if said.local_cluster_rate_limit:
        raise CannotCarryOutError("local_cluster_rate_limit")
    try:
        return _RateLimit(said, Descriptors(said, around), clock)
    except InvalidPatternError as error:
        raise CannotCarryOutError(str(error), invalid=True) from error


class _RateLimit:
    def __init__(self, said: LocalRateLimit, descriptors: Descriptors, clock: Callable[[], float]) -> None:
        """Raises `CannotCarryOutError`."""
        assert said.filter_enabled is not None
        self._descriptors = descriptors if said.descriptors else None
        self._enabled = said.filter_enabled.per_million
        self._enforced = said.filter_enforced.per_million if said.filter_enforced is not None else 0
        self._shows = said.enable_x_ratelimit_headers == "DRAFT_VERSION_03"
        self._marks = additions(said.request_headers_to_add_when_not_enforced)
        self._all = Limiter(said, clock)
        self._each: Recent[str, Limiter] | None = None
        if said.local_rate_limit_per_downstream_connection:
            self._each = Recent(_CONNECTIONS, lambda: Limiter(said, clock))
        status = said.status if said.status in _ERRORS else _TOO_MANY
        self._refusal = local_reply(
            status if status is not None else _TOO_MANY,
            "local_rate_limited",
            why="local_rate_limited",
            headers=[
                (change.name, change.value.decode("latin-1")) for change in additions(said.response_headers_to_add)
            ],
            code=RESOURCE_EXHAUSTED if said.rate_limited_as_resource_exhausted else None,
        )

    def __call__(self, request: Request) -> Decision:
        if not _one_of(self._enabled):
            return None
        limiter = self._all if self._each is None else self._each.of(request.peer)
        allowed, bucket = limiter.take(self._descriptors.of(request) if self._descriptors is not None else ())
        if self._shows:
            _show(request, bucket)
        if allowed:
            return None
        if _one_of(self._enforced):
            return self._refusal
        for mark in self._marks:
            mark.in_request(request)
        return None


def _one_of(share: int) -> bool:
    return share >= _PER_MILLION or random.randrange(_PER_MILLION) < share  # noqa: S311 - a share, not a secret


def _show(request: Request, bucket: Bucket) -> None:
    for name, number in (("limit", bucket.most), ("remaining", bucket.remaining()), ("reset", bucket.reset())):
        request.change_answer("APPEND_IF_EXISTS_OR_ADD", f"x-ratelimit-{name}", str(number))


carries_out(TYPE, LocalRateLimit, compiled)
