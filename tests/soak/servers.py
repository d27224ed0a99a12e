"""The service that is soaked, on servers of either world."""

from __future__ import annotations

import asyncio
import time
from concurrent import futures

import grpc

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from tests.rpc.script import AIO_CONTEXTS, PATIENCE, READ, AioServicer, SyncServicer, greet

SLOW = 0.05  # seconds
THREADS = 16


def service():
    """``name`` says what is wanted: to ``fail``, or to be ``slow``; ``count`` replies to each request."""
    while (asked := (yield READ)) is not None:
        if asked.name == "fail":
            yield lambda context: context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        for _ in range(asked.count or 1):
            if asked.name == "slow":
                yield pause
            yield greet(asked)


def pause(context):
    return asyncio.sleep(SLOW) if isinstance(context, AIO_CONTEXTS) else time.sleep(SLOW)


class SyncServer:
    def __init__(self, credentials, threads=THREADS):
        self._pool = futures.ThreadPoolExecutor(threads)
        self._server = rpc.server(self._pool)
        self.port = (
            self._server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else self._server.add_insecure_port("127.0.0.1:0")
        )
        add_GreeterServicer_to_server(SyncServicer(service), self._server)
        self._server.start()

    def stop(self, grace):
        assert self._server.stop(grace).wait(PATIENCE)
        self._pool.shutdown()


class AioServer:
    def __init__(self, credentials):
        self._server = rpc.aio.server()
        self.port = (
            self._server.add_secure_port("127.0.0.1:0", credentials)
            if credentials
            else self._server.add_insecure_port("127.0.0.1:0")
        )
        add_GreeterServicer_to_server(AioServicer(service), self._server)

    async def start(self):
        await self._server.start()
        return self

    async def stop(self, grace):
        await self._server.stop(grace)
