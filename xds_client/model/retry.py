"""When a request is sent again, or twice. Frozen values, no behaviour; times in seconds, None: not said.

Each class says which message of Envoy's it is, whose field names it keeps (envoy.config.route.v3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xds_client.model.matching import HeaderMatch
    from xds_client.model.values import Extension


@dataclass(frozen=True, slots=True)
class RetryBackOff:
    """``RetryPolicy.RetryBackOff``; not said at all: Envoy takes 25 ms, and ten times the base at most."""

    base_interval: float | None = None
    max_interval: float | None = None


@dataclass(frozen=True, slots=True)
class ResetHeader:
    """``RetryPolicy.ResetHeader``: ``format`` is SECONDS or UNIX_TIMESTAMP."""

    name: str = ""
    format: str = "SECONDS"


@dataclass(frozen=True, slots=True)
class RateLimitedRetryBackOff:
    """``RetryPolicy.RateLimitedRetryBackOff``."""

    reset_headers: tuple[ResetHeader, ...] = ()
    max_interval: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``RetryPolicy``. ``num_retries`` None: one. ``retry_on``: the words as written, with commas."""

    retry_on: str = ""
    num_retries: int | None = None
    per_try_timeout: float | None = None
    per_try_idle_timeout: float | None = None
    retry_priority: Extension | None = None
    retry_host_predicate: tuple[Extension, ...] = ()
    retry_options_predicates: tuple[Extension, ...] = ()
    host_selection_retry_max_attempts: int = 0
    retriable_status_codes: tuple[int, ...] = ()
    retry_back_off: RetryBackOff | None = None
    rate_limited_retry_back_off: RateLimitedRetryBackOff | None = None
    retriable_headers: tuple[HeaderMatch, ...] = ()
    retriable_request_headers: tuple[HeaderMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class PreviousPriorities:
    """``envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig``."""

    update_frequency: int = 0


@dataclass(frozen=True, slots=True)
class PreviousHosts:
    """``envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate``."""


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """``HedgePolicy``: ``additional_request_chance`` per million."""

    initial_requests: int | None = None
    additional_request_chance: int | None = None
    hedge_on_per_try_timeout: bool = False
