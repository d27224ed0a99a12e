"""Context variables: a call's interceptors and its handler share one context, which is no other call's."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent import futures

import grpc
import pytest

import rpc
import rpc.aio
from examples.hello.hello_pb2 import HelloReply, HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server
from tests.rpc import frames
from tests.rpc.frames import DATA, END_STREAM, frame, message
from tests.rpc.peers import LoopThread
from tests.rpc.script import PATIENCE
from tests.rpc.tls.ends import until

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
MADE_IN: contextvars.ContextVar[str] = contextvars.ContextVar("made_in", default="nowhere")
CALLERS, CALLS = 8, 40


def user_of(details):
    return dict(details.invocation_metadata)["x-user"]


class SetsUser(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        USER.set(user_of(details))
        return continuation(details)


class SetsUserInLoop(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, details):
        USER.set(user_of(details))
        await asyncio.sleep(0)
        return await continuation(details)


class Tells(GreeterServicer):
    """Answers with the user that the context says; ``after`` are those seen by callbacks."""

    def __init__(self):
        self.after = []

    def SayHello(self, request, context):  # noqa: N802 - the name of the method on the wire
        context.add_callback(lambda: (self.after.append((request.name, USER.get())), USER.set("a callback")))
        return HelloReply(message=f"{USER.get()} {MADE_IN.get()}")

    def Chat(self, request_iterator, context):  # noqa: N802
        for _ in request_iterator:
            yield HelloReply(message=USER.get())
            USER.set(USER.get() + "+")


class TellsInLoop(GreeterServicer):
    async def SayHello(self, request, context):  # noqa: N802
        await asyncio.sleep(0)
        return HelloReply(message=f"{USER.get()} {MADE_IN.get()}")

    async def Chat(self, request_iterator, context):  # noqa: N802
        async for _ in request_iterator:
            yield HelloReply(message=USER.get())
            USER.set(USER.get() + "+")


class Serving:
    def __init__(self, kind):
        self.loop = LoopThread() if kind.startswith("aio") else None
        self.servicer = TellsInLoop() if kind == "aio" else Tells()
        self.pool = None if kind == "no pool" else futures.ThreadPoolExecutor(CALLERS)
        if self.loop is None:
            self._make(rpc, SetsUser())
            contextvars.copy_context().run(self._start)
        else:
            self.loop.run(self._start_in_loop())
        self.address = f"127.0.0.1:{self.port}"

    def _make(self, module, interceptor):
        self.server = module.server(self.pool, interceptors=[interceptor])
        add_GreeterServicer_to_server(self.servicer, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def _start(self):
        MADE_IN.set("here")
        self.server.start()

    async def _start_in_loop(self):
        MADE_IN.set("here")
        self._make(rpc.aio, SetsUserInLoop())
        await self.server.start()

    def close(self):
        if self.loop is None:
            self.server.stop(0).wait(PATIENCE)
        else:
            self.loop.run(self.server.stop(0))
            self.loop.close()
        if self.pool is not None:
            self.pool.shutdown()


@pytest.fixture(params=["threads", "no pool", "aio", "aio, blocking"])
def serving(request):
    server = Serving(request.param)
    yield server
    server.close()


def calling(address, user, kind):
    with rpc.insecure_channel(address) as channel:
        stub = GreeterStub(channel)
        for n in range(CALLS):
            metadata = [("x-user", f"{user}-{n}")]
            if kind == "unary":
                yield n, stub.SayHello(HelloRequest(name=f"{user}-{n}"), metadata=metadata, timeout=PATIENCE).message
            else:
                replies = stub.Chat(iter([HelloRequest()] * 2), metadata=metadata, timeout=PATIENCE)
                yield n, [reply.message for reply in replies]


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_each_handler_sees_what_its_own_interceptor_set(serving, kind):
    with futures.ThreadPoolExecutor(CALLERS) as callers:
        told = callers.map(lambda user: list(calling(serving.address, user, kind)), range(CALLERS))
        for user, answers in enumerate(told):
            own = [f"{user}-{n}" for n in range(CALLS)]
            wanted = [f"{name} here" for name in own] if kind == "unary" else [[name, f"{name}+"] for name in own]
            assert [answer for _, answer in answers] == wanted
    after = getattr(serving.servicer, "after", [])
    assert all(name == user for name, user in after)


def test_a_request_that_comes_in_pieces_keeps_its_context(serving, dial):
    raw = dial(serving.address)
    for stream in (1, 3, 5):
        headers = frames.request_headers("/hello.Greeter/SayHello", ("x-user", str(stream)))
        raw.send(raw.headers(stream, headers), frame(DATA, stream, message(b"")[:3]))
    until(lambda: serving.server.tally().started == 3)
    raw.send(*(frame(DATA, stream, message(b"")[3:], END_STREAM) for stream in (1, 3, 5)))
    answers = {}
    for got in raw.frames():
        if got.kind == DATA and got.body:
            answers[got.stream] = HelloReply.FromString(got.body[5:]).message
        if len(answers) == 3:
            break
    assert answers == {stream: f"{stream} here" for stream in (1, 3, 5)}


def test_a_stream_that_is_cancelled_as_it_writes_ends_its_generator_in_its_own_context(dial):
    """Its window is closed: it waits in `write` when its client goes."""
    entered, left = [], []

    class Endless(GreeterServicer):
        async def ListHellos(self, request, context):  # noqa: N802
            token = USER.set("inside")
            entered.append(threading.get_ident())
            try:
                while True:
                    yield HelloReply(payload=bytes(100_000))
            finally:
                left.append(USER.get())
                USER.reset(token)

    loop = LoopThread()

    async def start():
        server = rpc.aio.server()
        add_GreeterServicer_to_server(Endless(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = loop.run(start())
    raw = dial(f"127.0.0.1:{port}")
    raw.call(message(b""), headers=frames.request_headers("/hello.Greeter/ListHellos"))
    until(lambda: entered)
    raw.close()
    until(lambda: left)
    assert left == ["inside"]
    loop.run(server.stop(0))
    loop.close()


def test_clients_carry_their_context_to_request_iterators_and_callbacks(sync_world):
    server = Serving("threads")
    seen = []

    def requests():
        seen.append(("requests", USER.get()))
        yield HelloRequest()

    with rpc.insecure_channel(server.address) as channel:
        stub = GreeterStub(channel)
        USER.set("caller")
        metadata = [("x-user", "Ann")]
        stream = stub.Chat(requests(), metadata=metadata, timeout=PATIENCE)
        assert [reply.message for reply in stream] == ["Ann"]
        future = stub.SayHello.future(HelloRequest(), metadata=metadata, timeout=PATIENCE)
        future.add_done_callback(lambda _: seen.append(("future", USER.get())))
        assert future.result().message == "Ann here"
        until(lambda: len(seen) == 2)
    server.close()
    USER.set("nobody")
    assert sorted(seen) == [("future", "caller"), ("requests", "caller")]
