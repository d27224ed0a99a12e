"""A client of either make and world, used in one way: whole calls, and calls message by message."""

from __future__ import annotations

import contextlib
import queue
from dataclasses import dataclass

import grpc
import grpc.aio

import rpc
import rpc.aio
from tests.interop import testing_pb2_grpc
from tests.rpc.peers import AioCall, LoopThread
from tests.rpc.script import PATIENCE

STACKS = {"ours": (rpc, rpc.aio), "grpcio": (grpc, grpc.aio)}
STREAMS_REQUESTS = {"StreamingInputCall", "FullDuplexCall", "HalfDuplexCall"}
STREAMS_REPLIES = {"StreamingOutputCall", "FullDuplexCall", "HalfDuplexCall"}
# The end of a call whose deadline passes at both ends at once: in grpcio the server's reset may count (CANCELLED), and
# in its aio a write that came too late (INTERNAL).
TOO_LATE = {
    "ours": {grpc.StatusCode.DEADLINE_EXCEEDED},
    "grpcio": {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL},
}


@dataclass
class Answer:
    replies: list
    code: grpc.StatusCode
    details: str
    initial: list
    trailing: list


@contextlib.contextmanager
def connect(stack, mode, target, root=None):
    """A caller of ``target``; with ``root`` (PEM) over TLS."""
    blocking, asynchronous = STACKS[stack]
    credentials = None if root is None else blocking.ssl_channel_credentials(root)
    module = asynchronous if mode == "aio" else blocking

    def channel():
        if credentials is None:
            return module.insecure_channel(target)
        return module.secure_channel(target, credentials)

    if mode == "sync":
        with channel() as opened:
            yield SyncCaller(opened, TOO_LATE[stack])
        return
    with contextlib.closing(LoopThread()) as loop:
        opened = loop.run(_awaited(channel))
        yield AioCaller(opened, TOO_LATE[stack], loop)
        loop.run(opened.close())


async def _awaited(function, *arguments, **how):
    """Run it inside the loop."""
    return function(*arguments, **how)


class SyncCaller:
    def __init__(self, channel, too_late):
        self._stubs = [testing_pb2_grpc.TestServiceStub(channel), testing_pb2_grpc.UnimplementedServiceStub(channel)]
        self.too_late = too_late

    def call(self, method, *requests, service=0, timeout=PATIENCE, **how):
        """The whole call; its failure is part of the answer."""
        callable_ = getattr(self._stubs[service], method)
        given = iter(requests) if method in STREAMS_REQUESTS else requests[0]
        replies = []
        try:
            if method in STREAMS_REPLIES:
                call = callable_(given, timeout=timeout, **how)
                replies.extend(call)
            else:
                reply, call = callable_.with_call(given, timeout=timeout, **how)
                replies.append(reply)
        except grpc.RpcError as error:
            call = error
        return Answer(replies, call.code(), call.details(), call.initial_metadata(), call.trailing_metadata())

    def open(self, method, timeout=PATIENCE, **how):
        """A call whose requests follow by `write`."""
        callable_ = getattr(self._stubs[0], method)
        return SyncCall(callable_ if method in STREAMS_REPLIES else callable_.future, timeout, how)


class SyncCall:
    def __init__(self, start, timeout, how):
        self._outgoing = queue.SimpleQueue()
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
        """Waits for the end of the call; nothing more is written."""
        self.done_writing()
        return self.call.code()

    def initial(self):
        return self.call.initial_metadata()

    def trailing(self):
        return self.call.trailing_metadata()


class AioCaller:
    def __init__(self, channel, too_late, loop):
        self._stubs = [testing_pb2_grpc.TestServiceStub(channel), testing_pb2_grpc.UnimplementedServiceStub(channel)]
        self.too_late = too_late
        self._loop = loop

    def call(self, method, *requests, service=0, timeout=PATIENCE, **how):
        return self._loop.run(
            self._whole(getattr(self._stubs[service], method), method, requests, how | {"timeout": timeout})
        )

    async def _whole(self, callable_, method, requests, how):
        call = callable_(iter(requests) if method in STREAMS_REQUESTS else requests[0], **how)
        replies = []
        with contextlib.suppress(grpc.RpcError):
            if method in STREAMS_REPLIES:
                async for reply in call:
                    replies.append(reply)  # noqa: PERF401 - a failure must not lose what came before it
            else:
                replies.append(await call)
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        return Answer(replies, await call.code(), await call.details(), initial, trailing)

    def open(self, method, timeout=PATIENCE, **how):
        call = self._loop.run(_awaited(getattr(self._stubs[0], method), timeout=timeout, **how))
        return AioStream(self._loop, call)


class AioStream(AioCall):
    def initial(self):
        return self._loop.run(self.call.initial_metadata())

    def trailing(self):
        return self._loop.run(self.call.trailing_metadata())
