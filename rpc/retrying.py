"""Whether, and when, a call that failed is sent again (gRFC A6). Decides only: who plans the call sleeps and sends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from xds_client.backoff import Backoff

if TYPE_CHECKING:
    from rpc._native import Outcome
    from rpc.choice import RetryPolicy
    from rpc.service_config import Throttling

_PUSHBACK = "grpc-retry-pushback-ms"
_INT32_DIGITS = 10
_JITTER = 0.2


class Throttle:
    """The retries' budget of one channel: failures cost a token, successes earn some of one; below half, none."""

    def __init__(self, throttling: Throttling) -> None:
        self._throttling = throttling
        self._tokens = throttling.max_tokens
        self._lock = threading.Lock()

    def failed(self) -> bool:
        """True: there is budget for a retry."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._throttling.max_tokens / 2

    def succeeded(self) -> None:
        with self._lock:
            self._tokens = min(self._throttling.max_tokens, self._tokens + self._throttling.token_ratio)


class Retries:
    """Of one call. ``attempts``: how many failed so far, other than for free."""

    __slots__ = ("_backoffs", "_throttle", "attempts", "policy")

    def __init__(self, policy: RetryPolicy, throttle: Throttle | None) -> None:
        self.policy = policy
        self._throttle = throttle
        self._backoffs = 0
        self.attempts = 0

    def delay(self, outcome: Outcome) -> float | None:
        """In how many seconds to send the call again; None: the outcome stands."""
        self.attempts += 1
        if outcome.ok:
            if self._throttle is not None:
                self._throttle.succeeded()
            return None
        pushback = _pushback(outcome)
        retryable = outcome.code in self.policy.codes
        budget = True
        # Also a server that says "not again" has failed, whatever the code.
        if self._throttle is not None and (retryable or (pushback is not None and pushback < 0)):
            budget = self._throttle.failed()
        if not retryable or not budget or outcome.response_started or self.attempts >= self.policy.max_attempts:
            return None
        if pushback is not None:
            self._backoffs = 0
            return None if pushback < 0 else pushback
        policy = self.policy
        backoff = Backoff(policy.initial_backoff, policy.max_backoff, policy.backoff_multiplier, _JITTER)
        self._backoffs += 1
        return backoff.after(self._backoffs - 1)


def _pushback(outcome: Outcome) -> float | None:
    """What the server asks for, in seconds; negative: not again, also where it makes no sense."""
    said = [value for key, value in outcome.trailing or () if key == _PUSHBACK]
    if not said:
        return None
    text = said[0] if isinstance(said[0], str) else ""
    sensible = len(said) == 1 and text.isascii() and text.isdigit() and len(text) <= _INT32_DIGITS
    return int(text) / 1000 if sensible else -1.0
