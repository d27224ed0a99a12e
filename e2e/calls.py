"""Calls through our own channels, blocking and asyncio behind one shape, and steady load made of them."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import grpc

import rpc
import rpc.aio
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs

if TYPE_CHECKING:
    from types import TracebackType

Metadata = Sequence[tuple[str, str]]
Options = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call: when it began and ended (time.monotonic), and who answered or what went wrong."""

    started: float
    ended: float
    server: str | None
    code: grpc.StatusCode = grpc.StatusCode.OK
    details: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class Client(ABC):
    """A Greeter stub on one mesh target. ``call`` may be used from any thread, and never raises a `grpc.RpcError`."""

    kind: ClassVar[str]

    def call(
        self, method: str = "SayHello", name: str = "e2e", metadata: Metadata = (), timeout: float = 5.0
    ) -> Outcome:
        request = pb.HelloRequest(name=name, count=1)
        started = time.monotonic()
        try:
            server = self._answer(method, request, metadata, timeout)
        except grpc.RpcError as error:
            return Outcome(started, time.monotonic(), None, error.code(), error.details())
        return Outcome(started, time.monotonic(), server)

    def servers(self, count: int, threads: int = 8, **call: Any) -> Counter[str]:
        """Who answered how many of ``count`` calls; none may fail."""
        with futures.ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(lambda _: self.call(**call), range(count)))
        failed = [outcome for outcome in outcomes if outcome.server is None]
        assert not failed, f"{len(failed)} of {count} calls failed, the first one with {failed[0]}"
        return Counter(outcome.server for outcome in outcomes if outcome.server is not None)

    @abstractmethod
    def _answer(self, method: str, request: pb.HelloRequest, metadata: Metadata, timeout: float) -> str: ...

    @abstractmethod
    def close(self) -> None: ...


class SyncClient(Client):
    kind = "sync"

    def __init__(self, target: str, mesh: Any, options: Options = ()) -> None:
        self._channel = rpc.insecure_channel(target, options, mesh=mesh)
        self._stub = stubs.GreeterStub(self._channel)

    def _answer(self, method: str, request: pb.HelloRequest, metadata: Metadata, timeout: float) -> str:
        reply = getattr(self._stub, method)(request, metadata=metadata, timeout=timeout)
        return reply.server if isinstance(reply, pb.HelloReply) else {one.server for one in reply}.pop()

    def close(self) -> None:
        self._channel.close()


class AioClient(Client):
    """Its loop runs in a thread of its own, so that tests stay plain functions."""

    kind = "aio"

    def __init__(self, target: str, mesh: Any, options: Options = ()) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="e2e-aio-client")
        self._thread.start()
        self._stub, self._channel = self._run(lambda: self._open(target, mesh, options))

    def _answer(self, method: str, request: pb.HelloRequest, metadata: Metadata, timeout: float) -> str:
        return self._run(lambda: self._ask(method, request, metadata, timeout))

    def close(self) -> None:
        self._run(self._channel.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self, target: str, mesh: Any, options: Options) -> tuple[Any, Any]:
        channel = rpc.aio.insecure_channel(target, options, mesh=mesh)
        return stubs.GreeterStub(channel), channel

    async def _ask(self, method: str, request: pb.HelloRequest, metadata: Metadata, seconds: float) -> str:
        call = getattr(self._stub, method)(request, metadata=tuple(metadata), timeout=seconds)
        if method == "SayHello":
            return (await call).server
        return {reply.server async for reply in call}.pop()

    def _run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def done() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result()


CLIENTS: dict[str, type[Client]] = {client.kind: client for client in (SyncClient, AioClient)}


class Load:
    """So many calls per second, at even times, from several threads; every outcome is kept."""

    def __init__(self, client: Client, rate: float, threads: int = 16, timeout: float = 5.0) -> None:
        self._client = client
        self._gap = threads / rate
        self._timeout = timeout
        self._ended = threading.Event()
        self._began = 0.0
        self._kept: list[list[Outcome]] = [[] for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"e2e-load-{number}") for number in range(threads)
        ]

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def outcomes(self) -> list[Outcome]:
        """All so far, in the order of their starts."""
        return sorted((one for kept in self._kept for one in list(kept)), key=lambda one: one.started)

    def _work(self, number: int) -> None:
        due = self._began + number * self._gap / len(self._threads)
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._kept[number].append(self._client.call(timeout=self._timeout))
            due += self._gap


def until(holds: Callable[[], bool], limit: float, what: str) -> float:
    """Poll until it holds; the seconds it took. Fails the test after ``limit``."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > limit:
            raise AssertionError(f"not within {limit} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began
