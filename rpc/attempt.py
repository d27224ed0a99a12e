"""One try of a call on one transport: what a plan has sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rpc.deadline import time_left
from rpc.errors import NOT_SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientCall, ClientTransport, Outcome, Pairs
    from rpc.balancing import Pick
    from rpc.errors import RouteLimit
    from rpc.method import MethodSpec

R = TypeVar("R")


class Attempt:
    """As a plan's step: send the request on ``transport``. Answered with what came of it; no room: `NOT_SENT`.

    ``deadline`` on the monotonic clock, ``limit`` is it where it is the route's (`rpc.errors.explained`). ``payload``
    is the only request; None where requests are sent one by one.
    """

    __slots__ = ("_begun", "_method", "authority", "deadline", "limit", "metadata", "payload", "pick", "transport")

    transport: ClientTransport

    def __init__(
        self,
        pick: Pick,
        method: MethodSpec,
        payload: bytes | None,
        authority: str,
        deadline: float | None,
        metadata: Pairs | None,
        limit: RouteLimit | None,
    ) -> None:
        self.pick = pick
        self._method = method
        self.payload = payload
        self.authority = authority
        self.deadline = deadline
        self.metadata = metadata
        self.limit = limit
        self._begun = False  # the engine has it, and tells the pick of its end

    def call_unary(self) -> Outcome:
        """Make the whole call, waiting. Raises ValueError or TypeError where it cannot be sent, as all of them."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        call = self.transport.call_unary
        return self._sent(call, native, self.metadata, self.payload, left, self.pick.done) or NOT_SENT

    def start_unary(self, callback: Callable[[Outcome], object]) -> int | None:
        """Start the call; its key on the transport, or None: it is not sent."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        start = self.transport.start_unary
        return self._sent(start, native, self.metadata, self.payload, left, callback, self.pick.done)

    def start(self, on_change: Callable[[], object] | None) -> ClientCall | None:
        """Start a call whose messages are sent and received one by one; None: it is not sent."""
        native, left = self._method.native(self.authority), time_left(self.deadline)
        return self._sent(self.transport.start, native, self.metadata, left, on_change, self.pick.done)

    def _sent(self, send: Callable[..., R | None], *arguments: Any) -> R | None:
        self._begun = True  # before: the end may come before this returns
        try:
            sent = send(*arguments)
        except (TypeError, ValueError):
            self._begun = False
            raise
        self._begun = sent is not None
        return sent

    def close(self) -> None:
        """Whether or not it began: the pick has an end."""
        if not self._begun:
            self.pick.not_sent()
