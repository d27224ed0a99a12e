"""The engine with as little Python around it as there can be: what a call costs below `rpc`'s own Python.

No plan, no context, no pool, no task, no future: bytes into the engine's methods, bytes out. Reads no pieces: small
messages only.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING

from bench.measured import Done
from rpc._native import Method, Reactor
from rpc.aio.awake import Awake
from rpc.aio.reactor import attach, detach, shared_reactor
from rpc.blocking.tender import tended_reactor
from rpc.options import ChannelOptions, ServerOptions

if TYPE_CHECKING:
    from rpc._native import ClientTransport, Outcome, ServerCall

_PATH = "/hello.Greeter/SayHello"
_PATIENCE = 10.0


def _connected(reactor: Reactor, target: str) -> ClientTransport:
    host, _, port = target.rpartition(":")
    descriptor = socket.create_connection((host, int(port))).detach()
    return reactor.connect(descriptor, ChannelOptions.parse(()).transport_config(), lambda: None, lambda _: None)


def _method(target: str) -> Method:
    return Method(_PATH, target, "grpc-python-proxyless/0")


class Channel:
    """Of blocking calls: a stub too."""

    def __init__(self, target: str) -> None:
        self._link, self._method = _connected(tended_reactor(), target), _method(target)

    def SayHello(self, payload: bytes) -> bytes | None:  # noqa: N802 - a stub's
        outcome = self._link.call_unary(self._method, None, payload, None)
        return outcome.payload if outcome is not None else None


class AioLoads:
    """`bench.loads.AioLoads` by callbacks: whose answer came, calls again."""

    def __init__(self, target: str, request: bytes, concurrency: int) -> None:
        self._link, self._method = _connected(shared_reactor(asyncio.get_running_loop(), None), target), _method(target)
        self._request, self._concurrency = request, concurrency

    async def unary(self, seconds: float) -> Done:
        now, start, times = time.perf_counter, self._link.start_unary, []
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        method, request, calling = self._method, self._request, self._concurrency
        before = begun = now()
        end = begun + seconds

        def answered(_: Outcome) -> None:
            nonlocal before, calling
            after = now()
            times.append(after - before)
            before = after
            if after < end:
                start(method, None, request, None, answered)
                return
            calling -= 1
            if calling == 0:
                over.set_result(None)

        for _ in range(self._concurrency):
            start(method, None, request, None, answered)
        await over
        return Done(len(times), now() - begun, statistics.median(times) if self._concurrency == 1 else None)


def _answer(calls: list[ServerCall]) -> None:
    for call in calls:
        call.reply(call.request() or b"", None, None, "")


class _Listening:
    def add_insecure_port(self, address: str) -> int:
        """For `start` to listen on."""
        host, _, port = address.rpartition(":")
        self._listener = socket.create_server((host, int(port)))
        bound: int = self._listener.getsockname()[1]
        return bound

    def _listen(self, reactor: Reactor) -> None:
        reactor.listen(self._listener.detach(), ServerOptions.parse(()).transport_config())


class Server(_Listening):
    """Answers on the thread that reads."""

    def start(self) -> None:
        self._reactor, self._stopped = Reactor(), threading.Event()
        self._listen(self._reactor)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stopped.is_set():
            _answer(self._reactor.poll(None))

    def stop(self, _: float) -> threading.Event:
        """As `grpc.Server.stop`."""
        self._stopped.set()
        self._reactor.wake()
        self._thread.join(_PATIENCE)
        return self._stopped


class AioServer(_Listening):
    """Answers in the loop's callback."""

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reactor = attach(self._loop, Awake(None), _answer)
        self._listen(self._reactor)

    async def stop(self, _: float) -> None:
        detach(self._loop, self._reactor)
