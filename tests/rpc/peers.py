"""Clients and servers of both makes (`ours`, `grpcio`) in both worlds (`sync`, `aio`), used in one way.

asyncio ones live in a loop of a thread of their own, so that a test reads the same for both worlds.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from concurrent import futures
from dataclasses import dataclass

import grpc
import grpc.aio

import rpc
import rpc.aio
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server
from tests.rpc.script import PATIENCE, AioServicer, SyncServicer

KINDS = {"unary": "SayHello", "server_stream": "ListHellos", "client_stream": "CollectHellos", "bidi": "Chat"}
STREAMS_REQUESTS = {"client_stream", "bidi"}
STREAMS_REPLIES = {"server_stream", "bidi"}


@dataclass
class Answer:
    """All there is to know of an ended call."""

    replies: list
    code: grpc.StatusCode
    details: str
    initial: list
    trailing: list

    @property
    def messages(self):
        return [reply.message for reply in self.replies]


def ours_only(pairs):
    """The pairs that a test has sent: their names begin with x-."""
    return [(key, value) for key, value in pairs or () if key.startswith("x-")]


def _open_channel(module, address, options, credentials=None, **how):
    """``credentials``: of the module's own make; None: `insecure_channel`."""
    if credentials is None:
        return module.insecure_channel(address, options, **how)
    return module.secure_channel(address, credentials, options, **how)


def _add_port(server, address, credentials):
    if credentials is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, credentials)


class SyncClient:
    def __init__(self, make, address, options, **how):
        self.channel = _open_channel(rpc if make == "ours" else grpc, address, options, **how)
        self.stub = GreeterStub(self.channel)

    def call(self, kind, *requests, timeout=PATIENCE, **how):
        """The whole call; its failure is part of the answer."""
        method = getattr(self.stub, KINDS[kind])
        given = iter(requests) if kind in STREAMS_REQUESTS else requests[0]
        replies = []
        try:
            if kind in STREAMS_REPLIES:
                call = method(given, timeout=timeout, **how)
                replies.extend(call)
            else:
                reply, call = method.with_call(given, timeout=timeout, **how)
                replies.append(reply)
        except grpc.RpcError as error:
            call = error
        return Answer(
            replies,
            call.code(),
            call.details(),
            ours_only(call.initial_metadata()),
            ours_only(call.trailing_metadata()),
        )

    def begin(self, kind, *requests, timeout=PATIENCE, **how):
        return SyncCall(getattr(self.stub, KINDS[kind]), kind, requests, timeout, how)

    def close(self):
        self.channel.close()

    def pour(self, kind, requests):
        """Send requests from an iterator without end, beside the test."""
        method = getattr(self.stub, KINDS[kind])
        if kind == "bidi":
            return method(requests)
        threading.Thread(target=_quietly, args=(method, requests), daemon=True).start()
        return None


def _quietly(method, requests):
    with contextlib.suppress(grpc.RpcError):
        method(requests)


class SyncCall:
    """A call in progress; requests may follow by `write`."""

    def __init__(self, method, kind, requests, timeout, how):
        self._outgoing = queue.SimpleQueue()
        if kind == "unary":
            self.call = method.future(requests[0], timeout=timeout, **how)
        elif kind == "server_stream":
            self.call = method(requests[0], timeout=timeout, **how)
        else:
            for request in requests:
                self._outgoing.put(request)
            start = method.future if kind == "client_stream" else method
            self.call = start(iter(self._outgoing.get, None), timeout=timeout, **how)

    def write(self, request):
        self._outgoing.put(request)

    def done_writing(self):
        self._outgoing.put(None)

    def read(self):
        """The next reply, None after the last; raises grpc.RpcError."""
        return next(self.call, None)

    def cancel(self):
        self.call.cancel()
        self._outgoing.put(None)

    def code(self):
        return self.call.code()

    def details(self):
        return self.call.details()


class AioClient:
    def __init__(self, loop, make, address, options, **how):
        self._loop = loop
        self.channel = loop.run(self._open(make, address, options, how))
        self.stub = GreeterStub(self.channel)

    async def _open(self, make, address, options, how):
        return _open_channel(rpc.aio if make == "ours" else grpc.aio, address, options, **how)

    def call(self, kind, *requests, timeout=PATIENCE, **how):
        return self._loop.run(self._whole(kind, requests, timeout=timeout, **how))

    async def _whole(self, kind, requests, **how):
        method = getattr(self.stub, KINDS[kind])
        call = method(iter(requests) if kind in STREAMS_REQUESTS else requests[0], **how)
        replies = []
        try:
            if kind in STREAMS_REPLIES:
                async for reply in call:
                    replies.append(reply)  # noqa: PERF401 - a failure must not lose what came before it
            else:
                replies.append(await call)
        except grpc.aio.AioRpcError:
            pass
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        return Answer(replies, await call.code(), await call.details(), ours_only(initial), ours_only(trailing))

    def begin(self, kind, *requests, timeout=PATIENCE, **how):
        return self._loop.run(self._begin(kind, requests, timeout=timeout, **how))

    async def _begin(self, kind, requests, **how):
        method = getattr(self.stub, KINDS[kind])
        if kind not in STREAMS_REQUESTS:
            return AioCall(self._loop, method(requests[0], **how))
        call = method(**how)
        for request in requests:
            await call.write(request)
        return AioCall(self._loop, call)

    def close(self):
        self._loop.run(self.channel.close())

    def pour(self, kind, requests):
        async def start():
            return getattr(self.stub, KINDS[kind])(requests)

        return self._loop.run(start())


class AioCall:
    def __init__(self, loop, call):
        self._loop = loop
        self.call = call

    def write(self, request):
        self._loop.run(self.call.write(request))

    def done_writing(self):
        self._loop.run(self.call.done_writing())

    def read(self):
        reply = self._loop.run(self.call.read())
        return None if reply is grpc.aio.EOF else reply

    def cancel(self):
        async def cancel():
            self.call.cancel()

        self._loop.run(cancel())

    def code(self):
        return self._loop.run(self.call.code())

    def details(self):
        return self._loop.run(self.call.details())


class LoopThread:
    """An event loop that runs beside the test."""

    def __init__(self, new_loop=asyncio.new_event_loop):
        self.loop = new_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test loop")
        self._thread.start()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE * 1.5)

    def close(self):
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _cancel_all(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class World:
    """Servers and clients of one test; all of them end with it."""

    def __init__(self, kind="sync", client="ours", server="ours", new_loop=asyncio.new_event_loop):
        self.kind, self.client_make, self.server_make = kind, client, server
        self._ends = contextlib.ExitStack()
        self.loop = None
        if kind == "aio":
            self.loop = LoopThread(new_loop)
            self._ends.callback(self.loop.close)

    def serve(self, script, options=None, address="127.0.0.1:0", threads=16, **how):
        """Start a server whose methods all follow the script; returns its address."""
        return f"127.0.0.1:{self.start_server(script, options, address, threads, **how)[1]}"

    def start_server(
        self, script, options=None, address="127.0.0.1:0", threads=16, credentials=None, adding=None, **how
    ):
        """The same; returns server and port, for tests that stop it themselves. ``adding(server)``: more servicers."""
        if self.kind == "aio":
            server, port = self.loop.run(self._start_aio(script, options, address, credentials, adding, how))
            self._ends.callback(lambda: self.loop.run(server.stop(0)))
            return server, port
        pool = futures.ThreadPoolExecutor(threads)
        server = (rpc if self.server_make == "ours" else grpc).server(pool, options=options, **how)
        port = _add_port(server, address, credentials)
        add_GreeterServicer_to_server(SyncServicer(script), server)
        if adding is not None:
            adding(server)
        server.start()
        self._ends.callback(pool.shutdown, wait=False)
        self._ends.callback(lambda: server.stop(0).wait(PATIENCE))
        return server, port

    async def _start_aio(self, script, options, address, credentials, adding, how):
        server = (rpc.aio if self.server_make == "ours" else grpc.aio).server(options=options, **how)
        port = _add_port(server, address, credentials)
        add_GreeterServicer_to_server(AioServicer(script), server)
        if adding is not None:
            adding(server)
        await server.start()
        return server, port

    def stop(self, server, grace=0):
        """Stop a server and wait until it has stopped."""
        if self.kind == "aio":
            self.loop.run(server.stop(grace))
        else:
            server.stop(grace).wait(PATIENCE)

    def connect(self, address, options=None, **how):
        if self.kind == "aio":
            client = AioClient(self.loop, self.client_make, address, options, **how)
        else:
            client = SyncClient(self.client_make, address, options, **how)
        self._ends.callback(client.close)
        return client

    def close(self):
        self._ends.close()
