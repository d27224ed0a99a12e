"""Clients that use every kind of call in every way that they can end, at random, for ever.

A turn is one call. What it may come to on a bad network is `EXPECTED`; anything else ends the soak.
"""

from __future__ import annotations

import asyncio
import time

import grpc

from examples.hello.hello_pb2 import HelloRequest
from tests.rpc.script import PATIENCE

EXPECTED = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,  # as asked
    grpc.StatusCode.UNAVAILABLE,
}
SIZES = (0, 0, 0, 1000, 100_000, 300_000)


class UnexpectedError(Exception):
    """A call came to something that a bad network does not explain."""


class Actor:
    """``counts``: how often which code came; shared by all actors of a world."""

    def __init__(self, stub, random, counts):
        self.stub = stub
        self.random = random
        self.counts = counts

    def request(self, **fields):
        name = self.random.choices(["you", "slow", "fail"], [8, 2, 1])[0]
        return HelloRequest(name=name, payload=bytes(self.random.choice(SIZES)), **fields)

    def requests(self):
        return [self.request(count=self.random.randrange(4)) for _ in range(self.random.randrange(6))]

    @property
    def timeout(self):
        """Mostly enough, sometimes not."""
        return PATIENCE if self.random.random() < 0.8 else self.random.uniform(0.0005, 0.05)

    def note(self, code, details=""):
        if code is not grpc.StatusCode.OK and code not in EXPECTED:
            raise UnexpectedError(f"{code}: {details}")
        self.counts[code.name] += 1

    def turn(self):
        """One of the turns."""
        return self.random.choice(self.turns)(self)


class SyncActor(Actor):
    def run(self, stopping):
        while not stopping.is_set():
            try:
                self.turn()
            except grpc.RpcError as error:
                self.note(error.code(), error.details())
            except grpc.FutureCancelledError:
                self.note(grpc.StatusCode.CANCELLED)

    def unary(self):
        self.stub.SayHello(self.request(), timeout=self.timeout)
        self.note(grpc.StatusCode.OK)

    def future(self):
        call = self.stub.SayHello.future(self.request(), timeout=self.timeout)
        if self.random.random() < 0.3:
            call.cancel()
        call.result(2 * PATIENCE)
        self.note(grpc.StatusCode.OK)

    def forgotten_future(self):
        self.stub.SayHello.future(self.request(), timeout=PATIENCE)

    def client_stream(self):
        self.stub.CollectHellos(iter(self.requests()), timeout=self.timeout)
        self.note(grpc.StatusCode.OK)

    def server_stream(self):
        self._read(self.stub.ListHellos(self.request(count=self.random.randrange(1, 20)), timeout=self.timeout))

    def bidi(self):
        self._read(self.stub.Chat(iter(self.requests()), timeout=self.timeout))

    def _read(self, call):
        """To the end, or to where it is cancelled or forgotten."""
        left = self.random.choice([1, 3, 1000])
        for _ in call:
            left -= 1
            if left == 0:
                if self.random.random() < 0.5:
                    call.cancel()
                self.note(grpc.StatusCode.CANCELLED)
                return
        self.note(grpc.StatusCode.OK)

    def rest(self):
        time.sleep(self.random.uniform(0, 0.02))

    turns = (unary, unary, future, forgotten_future, client_stream, server_stream, bidi, rest)


class AioActor(Actor):
    async def run(self, stopping):
        while not stopping.is_set():
            try:
                await self.turn()
            except grpc.RpcError as error:
                self.note(error.code(), error.details())
            except asyncio.CancelledError:
                if asyncio.current_task().cancelling():  # this actor itself: another one has failed
                    raise
                self.note(grpc.StatusCode.CANCELLED)

    async def unary(self):
        await self.stub.SayHello(self.request(), timeout=self.timeout)
        self.note(grpc.StatusCode.OK)

    async def cancelled_task(self):
        task = asyncio.ensure_future(self._in_task())
        await asyncio.sleep(self.random.uniform(0, 0.02))
        task.cancel()
        await task
        self.note(grpc.StatusCode.OK)

    async def _in_task(self):
        return await self.stub.SayHello(self.request(), timeout=PATIENCE)

    async def forgotten(self):
        self.stub.SayHello(self.request(), timeout=PATIENCE)

    async def client_stream(self):
        await self.stub.CollectHellos(iter(self.requests()), timeout=self.timeout)
        self.note(grpc.StatusCode.OK)

    async def server_stream(self):
        await self._read(self.stub.ListHellos(self.request(count=self.random.randrange(1, 20)), timeout=self.timeout))

    async def bidi(self):
        await self._read(self.stub.Chat(iter(self.requests()), timeout=self.timeout))

    async def conversation(self):
        call = self.stub.Chat(timeout=self.timeout)
        for request in self.requests():
            try:
                await call.write(request)
            except asyncio.InvalidStateError:  # it has ended; grpcio says so, too
                self.note(await call.code())
                return
        if self.random.random() < 0.5:
            await call.done_writing()
            await self._read(call)
        else:
            call.cancel()
            self.note(grpc.StatusCode.CANCELLED)

    async def _read(self, call):
        left = self.random.choice([1, 3, 1000])
        async for _ in call:
            left -= 1
            if left == 0:
                if self.random.random() < 0.5:
                    call.cancel()
                self.note(grpc.StatusCode.CANCELLED)
                return
        self.note(grpc.StatusCode.OK)

    async def rest(self):
        await asyncio.sleep(self.random.uniform(0, 0.02))

    turns = (unary, unary, cancelled_task, forgotten, client_stream, server_stream, bidi, conversation, rest)
