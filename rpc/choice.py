"""What stands between routing and the wire: a request head is answered with one choice.

Whoever makes choices (a mesh's routes, a registry's rules, the one pool of a plain target) knows its own rule language;
the plan of a call knows only this: from which pool of endpoints to pick, and the terms of the call. Pure values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from rpc.balancing.cluster import BalancedCluster
    from rpc.request_head import RequestHead

    Chooser = Callable[[RequestHead], "Choice"]  # raises NoChoiceError; any thread, and it never waits


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that failed is sent again (gRFC A6). Back-offs in seconds; ``codes`` as numbers.

    >>> RetryPolicy(max_attempts=3, initial_backoff=0.1, max_backoff=1.0, backoff_multiplier=2.0, codes=frozenset({14}))
    RetryPolicy(max_attempts=3, initial_backoff=0.1, max_backoff=1.0, backoff_multiplier=2.0, codes=frozenset({14}))
    """

    max_attempts: int
    initial_backoff: float
    max_backoff: float
    backoff_multiplier: float
    codes: frozenset[int]


@dataclass(frozen=True, slots=True)
class CallTerms:
    """What is said of a call besides where it goes. None, and a choice without terms: nothing is, and it costs nothing.

    ``timeout``: seconds for the call with all its attempts; the shorter one of it and the caller's holds, and a call
    that ends by it says ``timeout_words``. ``wait_for_ready`` holds where the caller says nothing. What terms there are
    besides (mirrors, faults, header operations, hashes) become fields here, None by default; the plan carries them out.

    >>> CallTerms(timeout=2.5)
    CallTerms(timeout=2.5, wait_for_ready=None, retry=None, timeout_words='')
    """

    timeout: float | None = None
    wait_for_ready: bool | None = None
    retry: RetryPolicy | None = None
    timeout_words: str = ""


class Choice(NamedTuple):
    """``rule``: by which it was made, for messages."""

    pool: BalancedCluster
    terms: CallTerms | None = None
    rule: str = ""


class Rules(Protocol):
    """What one configuration says of which call goes where: any rule language, compiled. Immutable."""

    def bind(self, pools: Mapping[str, BalancedCluster]) -> Chooser:
        """Choices among these pools; called once for each snapshot, so that what a call costs can be paid here."""


class NoChoiceError(Exception):
    """A request for which there is no choice: its call ends with ``code``, and says why."""

    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code
