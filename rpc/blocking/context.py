"""`grpc.ServicerContext` for handlers that run in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from rpc.carried import carried
from rpc.errors import told
from rpc.serving.context import AbortedError, CallOverError, CallState

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import Pairs, ServerCall


class ServicerContext(CallState, grpc.ServicerContext):  # type: ignore[misc]  # an untyped base in the stubs
    """One call, for the thread that answers it."""

    def __init__(self, call: ServerCall) -> None:
        super().__init__(call)
        self._callbacks: list[Callable[[], None]] = []
        self._over = False
        self._left = False  # the client, before there was an answer

    def is_active(self) -> bool:
        return not self._over and self.call.active

    def cancel(self) -> bool:
        """End the call with CANCELLED; the handler runs on."""
        if not self.is_active():
            return False
        self.fail(grpc.StatusCode.CANCELLED, "cancelled by the server")
        return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Run ``callback`` when the call is over: answered, cancelled, or past its deadline."""
        if not self.is_active():
            return False
        self._callbacks.append(carried(callback))
        self.call.watch(self._on_change)
        self._on_change()  # it may have ended before it was watched
        return True

    def _on_change(self) -> None:
        if not self.call.active:
            self._left = True
            self.run_callbacks()

    def run_callbacks(self) -> None:
        """The call is over. The handler's thread and the serving thread may both find out: each callback runs once."""
        self._over = True
        self.call.unwatch()
        while True:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:
                return
            told([callback])

    def send_initial_metadata(self, initial_metadata: Pairs | None) -> None:
        if self.head_sent:
            raise ValueError("Initial metadata no longer allowed!")
        if self._left or not (self._over or self.call.active):
            raise CallOverError
        self.call.send_head(tuple(initial_metadata or ()))
        self.head_sent = True

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self.begin_abort(code, details)
        raise AbortedError

    def abort_with_status(self, status: Any) -> NoReturn:
        self.begin_abort(status.code, status.details, status.trailing_metadata or ())
        raise AbortedError
