"""The four multi-callables of a channel for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from rpc._native import Outcome
from rpc.attempt import Attempt
from rpc.blocking.driver import Driver
from rpc.blocking.future import StreamUnaryFuture, UnaryFuture, only_response
from rpc.blocking.stream import One, StreamCall
from rpc.deadline import deadline_of
from rpc.errors import CallFailed, EndedCall
from rpc.method import OfMethod, unserializable
from rpc.plan import plan_call
from rpc.runner import carry_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpc._native import Pairs
    from rpc.method import MethodSpec


class UnaryUnary(OfMethod[Driver], grpc.UnaryUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.UnaryUnaryMultiCallable`."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        """The response; raises `rpc.CallFailed` (a `grpc.RpcError`)."""
        method = self._method
        if credentials is not None or compression is not None:
            method = self._as_asked(credentials, compression)
        return method.response(self._call(method, request, timeout, metadata, wait_for_ready))

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> tuple[Any, grpc.Call]:
        """The response and the ended call."""
        method = self._as_asked(credentials, compression)
        outcome = self._call(method, request, timeout, metadata, wait_for_ready)
        response = method.response(outcome)
        return response, EndedCall(outcome, response)

    def future(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> UnaryFuture:
        """The call in progress, as a `grpc.Future` that is also its `grpc.Call`."""
        method = self._as_asked(credentials, compression)
        return UnaryFuture(self._driver, method, request, timeout, metadata, wait_for_ready)

    def _call(
        self,
        method: MethodSpec,
        request: Any,
        timeout: float | None,
        metadata: Pairs | None,
        wait_for_ready: bool | None,
    ) -> Outcome:
        driver = self._driver
        try:
            payload = method.payload(request)
        except Exception as error:
            return unserializable(error)
        plan = plan_call(driver.core, method, payload, metadata, deadline_of(timeout), wait_for_ready)
        outcome = carry_on(plan, None, Attempt.call_unary, driver.perform)
        assert isinstance(outcome, Outcome)  # there is one response, and it was waited for
        return outcome


class UnaryStream(OfMethod[Driver], grpc.UnaryStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.UnaryStreamMultiCallable`."""

    def __call__(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall:
        """Raises `rpc.CallFailed` where the request cannot be serialized."""
        method = self._as_asked(credentials, compression)
        try:
            one = One(method.payload(request))
        except Exception as error:
            raise CallFailed(unserializable(error)) from error
        return StreamCall(self._driver, method, one, timeout, metadata, wait_for_ready)


class StreamStream(OfMethod[Driver], grpc.StreamStreamMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.StreamStreamMultiCallable`."""

    def __call__(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamCall:
        method = self._as_asked(credentials, compression)
        return StreamCall(self._driver, method, request_iterator, timeout, metadata, wait_for_ready)


class StreamUnary(OfMethod[Driver], grpc.StreamUnaryMultiCallable):  # type: ignore[type-arg]  # generic in the stubs only
    """`grpc.StreamUnaryMultiCallable`. Built on the streaming call: its one response is the first and only."""

    def __call__(
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        return self.with_call(request_iterator, timeout, metadata, credentials, wait_for_ready, compression)[0]

    def with_call(
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> tuple[Any, grpc.Call]:
        method = self._as_asked(credentials, compression)
        call = StreamCall(self._driver, method, request_iterator, timeout, metadata, wait_for_ready)
        payloads: list[bytes] = []
        outcome = only_response(call.take_all(payloads), payloads)
        response = method.response(outcome)
        return response, EndedCall(outcome, response)

    def future(  # type: ignore[override]  # the stubs' own type does not exist at run time
        self,
        request_iterator: Iterator[Any],
        timeout: float | None = None,
        metadata: Pairs | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> StreamUnaryFuture:
        """The call in progress, as a `grpc.Future` that is also its `grpc.Call`."""
        method = self._as_asked(credentials, compression)
        return StreamUnaryFuture(self._driver, method, request_iterator, timeout, metadata, wait_for_ready)
