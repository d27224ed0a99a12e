"""What a client does while it is measured, in threads and in tasks. A load runs for a while and says what it did."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from bench.measured import Done

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.stacks import Stack

NEW_CONNECTIONS = 50
"""Connections that one round opens and keeps. All rounds together stay below the usual limit of descriptors."""


class SyncLoads:
    """One channel, used by as many threads as ``concurrency`` says."""

    def __init__(self, stack: Stack, target: str, payload: int, concurrency: int) -> None:
        self._open: Callable[[], Any] = lambda: stack.channel(target)
        self._stub_of = stack.stub
        self._stub = stack.stub(self._open())
        self._request = stack.request(payload)
        self._concurrency = concurrency
        self._kept: list[Any] = []

    def unary(self, seconds: float) -> Done:
        if self._concurrency == 1:
            return self._one_by_one(seconds)
        counts: list[int] = []
        all_ready = threading.Barrier(self._concurrency + 1)

        def caller() -> None:
            call, request, now, calls = self._stub.SayHello, self._request, time.perf_counter, 0
            all_ready.wait()
            end = now() + seconds
            while now() < end:
                call(request)
                calls += 1
            counts.append(calls)

        threads = [threading.Thread(target=caller, daemon=True) for _ in range(self._concurrency)]
        for thread in threads:
            thread.start()
        all_ready.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        if len(counts) != len(threads):
            raise RuntimeError("a caller failed; see its traceback above")
        return Done(sum(counts), time.perf_counter() - start)

    def _one_by_one(self, seconds: float) -> Done:
        call, request, now = self._stub.SayHello, self._request, time.perf_counter
        times = []
        before = start = now()
        while before < start + seconds:
            call(request)
            after = now()
            times.append(after - before)
            before = after
        return Done(len(times), before - start, statistics.median(times))

    def stream(self, seconds: float) -> Done:
        messages, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            messages += sum(1 for _ in self._stub.ListHellos(self._request))
        return Done(messages, time.perf_counter() - start)

    def connect(self, seconds: float) -> Done:
        del seconds  # a number of connections, not a time
        start = time.perf_counter()
        for _ in range(NEW_CONNECTIONS):
            channel = self._open()
            self._stub_of(channel).SayHello(self._request)
            self._kept.append(channel)
        return Done(NEW_CONNECTIONS, time.perf_counter() - start)


class AioLoads:
    """The same in tasks of the running loop."""

    def __init__(self, stack: Stack, target: str, payload: int, concurrency: int) -> None:
        self._stub = stack.stub(stack.aio_channel(target))
        self._request = stack.request(payload)
        self._concurrency = concurrency

    async def unary(self, seconds: float) -> Done:
        if self._concurrency == 1:
            return await self._one_by_one(seconds)
        start = time.perf_counter()

        async def caller() -> int:
            call, request, now, calls = self._stub.SayHello, self._request, time.perf_counter, 0
            end = start + seconds
            while now() < end:
                await call(request)
                calls += 1
            return calls

        counts = await asyncio.gather(*(caller() for _ in range(self._concurrency)))
        return Done(sum(counts), time.perf_counter() - start)

    async def _one_by_one(self, seconds: float) -> Done:
        call, request, now = self._stub.SayHello, self._request, time.perf_counter
        times = []
        before = start = now()
        while before < start + seconds:
            await call(request)
            after = now()
            times.append(after - before)
            before = after
        return Done(len(times), before - start, statistics.median(times))

    async def stream(self, seconds: float) -> Done:
        messages, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            async for _ in self._stub.ListHellos(self._request):
                messages += 1
        return Done(messages, time.perf_counter() - start)
