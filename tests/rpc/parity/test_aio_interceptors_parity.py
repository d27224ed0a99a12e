"""Client interceptors of asyncio channels, all four kinds, ours beside grpcio's."""

from __future__ import annotations

import asyncio
import threading

import grpc
import grpc.aio
import pytest

import rpc.aio
from examples.hello.hello_pb2 import HelloReply
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.peers import KINDS, STREAMS_REPLIES, STREAMS_REQUESTS, World
from tests.rpc.script import PATIENCE, READ, greet, polite, request, stay_until_over


@pytest.fixture(params=["grpcio", "ours"])
def world(request):
    world = World("aio", request.param, "ours")
    yield world
    world.close()


class Interceptor:
    """Calls ``before(details)`` and ``after(call)``; notes what it saw."""

    def __init__(self, before=None, after=None):
        self.seen = []
        self._before, self._after = before, after

    async def _go(self, continuation, details, request):
        self.seen.append(details)
        if self._before is not None:
            details = self._before(details)
        call = await continuation(details, request)
        return call if self._after is None else await self._after(call)


class OfUnary(Interceptor, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation, client_call_details, request):
        return await self._go(continuation, client_call_details, request)


class OfServerStream(Interceptor, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation, client_call_details, request):
        return await self._go(continuation, client_call_details, request)


class OfClientStream(Interceptor, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation, client_call_details, request_iterator):
        return await self._go(continuation, client_call_details, request_iterator)


class OfBidi(Interceptor, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
        return await self._go(continuation, client_call_details, request_iterator)


OF = {"unary": OfUnary, "server_stream": OfServerStream, "client_stream": OfClientStream, "bidi": OfBidi}


def with_metadata(*pairs):
    def before(details):
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        for key, value in pairs:
            metadata.add(key, value)
        return details._replace(metadata=metadata)

    return before


def saying():
    """A script that answers with the metadata it got."""
    pairs = yield lambda context: context.invocation_metadata()
    said = ",".join(value for key, value in pairs if key.startswith("x-"))
    while (yield READ) is not None:
        yield HelloReply(message=said)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_that_an_interceptor_adds_is_sent(world, kind):
    first, second = OF[kind](with_metadata(("x-first", "1"))), OF[kind](with_metadata(("x-second", "2")))
    client = world.connect(world.serve(saying), interceptors=[first, second])
    answer = client.call(kind, request(), metadata=(("x-own", "0"),))
    assert answer.messages == ["0,1,2"]
    assert (len(first.seen), len(second.seen)) == (1, 1)
    assert isinstance(first.seen[0].metadata, grpc.aio.Metadata)
    assert first.seen[0].method in (f"/hello.Greeter/{KINDS[kind]}".encode(), f"/hello.Greeter/{KINDS[kind]}")
    assert 0 < first.seen[0].timeout <= PATIENCE


@pytest.mark.parametrize("kind", KINDS)
def test_only_calls_of_its_kind_are_intercepted(world, kind):
    interceptor = OF[kind]()
    client = world.connect(world.serve(polite), interceptors=[interceptor])
    for each in KINDS:
        assert client.call(each, request("Ann")).messages == ["Hello, Ann!"]
    assert len(interceptor.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_without_metadata_the_interceptor_sees_empty_metadata(world, kind):
    interceptor = OF[kind]()
    client = world.connect(world.serve(polite), interceptors=[interceptor])
    assert client.call(kind, request()).code.name == "OK"
    assert len(interceptor.seen[0].metadata) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_call_passes_through(world, kind):
    def refuse():
        yield READ
        yield lambda context: context.set_trailing_metadata((("x-why", "because"),))
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    client = world.connect(world.serve(refuse), interceptors=[OF[kind]()])
    answer = client.call(kind, request())
    assert (answer.code.name, answer.details) == ("NOT_FOUND", "no such thing")
    assert answer.trailing == [("x-why", "because")]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - STREAMS_REPLIES))
def test_an_interceptor_may_wait_for_the_response(world, kind):
    async def wait(call):
        assert (await call).message == "Hello, Ann!"
        assert await call.code() is grpc.StatusCode.OK
        return call

    client = world.connect(world.serve(polite), interceptors=[OF[kind](after=wait)])
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]


def test_an_interceptor_may_answer_by_itself(world):
    async def shout(call):
        return HelloReply(message=(await call).message.upper())

    client = world.connect(world.serve(polite), interceptors=[OfUnary(after=shout)])
    assert client.call("unary", request("Ann")).messages == ["HELLO, ANN!"]


@pytest.mark.parametrize("kind", sorted(STREAMS_REPLIES))
def test_an_interceptor_may_replace_the_stream_of_replies(world, kind):
    async def shout(call):
        async def louder():
            async for reply in call:
                yield HelloReply(message=reply.message.upper())

        return louder()

    client = world.connect(world.serve(polite), interceptors=[OF[kind](after=shout), OF[kind](after=shout)])
    asked = [request("Ann"), request("Ben")] if kind == "bidi" else [request("Ann", count=2)]
    answer = client.call(kind, *asked)
    assert answer.code.name == "OK"
    assert len(answer.messages) == 2
    assert answer.messages[0] == "HELLO, ANN!"


@pytest.mark.parametrize("kind", KINDS)
def test_an_interceptor_that_raises_fails_the_call(world, kind):
    def refuse(details):
        raise ValueError("not today")

    client = world.connect(world.serve(polite), interceptors=[OF[kind](refuse)])

    async def call():
        method = getattr(client.stub, KINDS[kind])
        call = method(iter([request()]) if kind in STREAMS_REQUESTS else request())
        with pytest.raises(ValueError, match="not today"):
            await (anext(aiter(call)) if kind in STREAMS_REPLIES else call)
        return call.done()

    assert world.loop.run(call())


@pytest.mark.parametrize("kind", sorted(STREAMS_REQUESTS))
@pytest.mark.parametrize("error", [ValueError("not today"), grpc.aio.UsageError("not so")], ids=["any", "of grpc"])
def test_what_an_interceptor_raises_comes_out_of_writing(world, kind, error):
    """Of the first request, which nobody will ever take, and of all that follow."""

    def refuse(details):
        raise error

    client = world.connect(world.serve(polite), interceptors=[OF[kind](refuse)])

    async def write():
        call = getattr(client.stub, KINDS[kind])()
        for attempt in (lambda: call.write(request("Ann")), lambda: call.write(request("Ben")), call.done_writing):
            with pytest.raises(type(error), match=str(error)):
                await attempt()

    world.loop.run(write())


@pytest.mark.parametrize("kind", sorted(STREAMS_REQUESTS))
def test_nothing_is_written_once_the_call_is_cancelled(world, kind):
    """Whether its interceptors had their turn or not."""
    client = world.connect(world.serve(polite), interceptors=[OF[kind]()])

    async def write():
        call = getattr(client.stub, KINDS[kind])()
        assert call.cancel()
        for attempt in (lambda: call.write(request("Ann")), lambda: call.write(request("Ben")), call.done_writing):
            with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
                await attempt()
        assert await call.code() is grpc.StatusCode.CANCELLED
        begun = getattr(client.stub, KINDS[kind])()
        await begun.write(request("Ann"))
        assert begun.cancel()
        with pytest.raises(asyncio.InvalidStateError, match="RPC already finished"):
            await begun.write(request("Ben"))

    world.loop.run(write())


@pytest.mark.parametrize("kind", sorted(STREAMS_REQUESTS))
def test_an_interceptor_may_take_the_first_request_itself(aio_world, kind):
    """In grpc.aio it would wait for ever: there `write` waits until the interceptors have made their call."""
    taken = []

    class Taking(OF[kind]):
        async def _go(self, continuation, details, requests):
            taken.append((await anext(aiter(requests))).name)
            return await continuation(details, requests)

    client = aio_world.connect(aio_world.serve(polite), interceptors=[Taking()])
    call = client.begin(kind)
    for name in ("to the interceptor", "Ann"):
        call.write(request(name))
    call.done_writing()
    assert call.code() is grpc.StatusCode.OK
    assert taken == ["to the interceptor"]


@pytest.mark.parametrize("kind", sorted(STREAMS_REQUESTS))
def test_requests_may_be_written_one_by_one(world, kind):
    client = world.connect(world.serve(polite), interceptors=[OF[kind](), OF[kind]()])
    call = client.begin(kind)
    for name in ("Ann", "Ben"):
        call.write(request(name))
        if kind == "bidi":
            assert call.read().message == f"Hello, {name}!"
    call.done_writing()
    if kind == "bidi":
        assert call.read() is None
    assert call.code().name == "OK"
    with pytest.raises(asyncio.InvalidStateError):
        call.write(request("late"))


def test_writing_where_an_iterator_was_given_is_a_usage_error(world):
    client = world.connect(world.serve(polite), interceptors=[OfBidi()])

    async def call():
        call = client.stub.Chat(iter([request()]))
        with pytest.raises(grpc.aio.UsageError):
            await call.write(request())
        assert [reply.message async for reply in call] == ["Hello, you!"]

    world.loop.run(call())


@pytest.mark.parametrize("kind", KINDS)
def test_cancelling_before_the_interceptor_went_on(world, kind):
    async def never(_):
        raise AssertionError

    waits = asyncio.Event()

    class Waiting(OF[kind]):
        async def _go(self, continuation, details, request):
            await waits.wait()

    client = world.connect(world.serve(polite), interceptors=[Waiting()])

    async def call():
        method = getattr(client.stub, KINDS[kind])
        call = method() if kind in STREAMS_REQUESTS else method(request())
        await asyncio.sleep(0)
        assert not call.done()
        assert call.cancel()
        code = await call.code()
        assert call.cancelled()
        assert call.done()
        return code

    assert world.loop.run(call()) is grpc.StatusCode.CANCELLED


@pytest.mark.parametrize("kind", KINDS)
def test_cancelling_the_call_cancels_the_handler(world, kind):
    arrived, over = threading.Event(), threading.Event()

    def stay():
        arrived.set()
        yield stay_until_over(over)

    client = world.connect(world.serve(stay), interceptors=[OF[kind]()])
    call = client.begin(kind, *([] if kind in STREAMS_REQUESTS else [request()]))
    if kind in STREAMS_REQUESTS:
        call.write(request())
    assert arrived.wait(PATIENCE)
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert over.wait(PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_done_callbacks_are_called_once_with_the_call(world, kind):
    client = world.connect(world.serve(polite), interceptors=[OF[kind]()])

    async def call():
        told = asyncio.Queue()
        method = getattr(client.stub, KINDS[kind])
        call = method(iter([request()]) if kind in STREAMS_REQUESTS else request())
        call.add_done_callback(told.put_nowait)
        if kind in STREAMS_REPLIES:
            assert len([reply async for reply in call]) == 1
        else:
            await call
        assert await asyncio.wait_for(told.get(), PATIENCE) is call
        call.add_done_callback(told.put_nowait)
        assert await asyncio.wait_for(told.get(), PATIENCE) is call
        assert told.empty()

    world.loop.run(call())


def test_an_interceptor_may_call_another_method(world):
    def elsewhere(details):
        return details._replace(method=b"/hello.Greeter/Nothing")

    client = world.connect(world.serve(polite), interceptors=[OfUnary(elsewhere)])
    assert client.call("unary", request()).code is grpc.StatusCode.UNIMPLEMENTED


def test_an_interceptor_may_change_the_deadline(world):
    over = threading.Event()

    def stay():
        yield stay_until_over(over)

    client = world.connect(world.serve(stay), interceptors=[OfUnary(lambda details: details._replace(timeout=0.2))])
    assert client.call("unary", request()).code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_interceptor_may_retry(world):
    tries = []

    def third_time():
        tries.append(1)
        if len(tries) < 3:
            yield lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        yield greet((yield READ))

    class Retrying(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation, client_call_details, request):
            while True:
                call = await continuation(client_call_details, request)
                if await call.code() is not grpc.StatusCode.UNAVAILABLE:
                    return call

    client = world.connect(world.serve(third_time), interceptors=[Retrying()])
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]


def test_what_is_no_interceptor_is_refused(world):
    make = rpc.aio if world.client_make == "ours" else grpc.aio

    async def connect():
        with pytest.raises(ValueError, match="UnaryUnaryClientInterceptor"):
            make.insecure_channel("127.0.0.1:1", interceptors=[object()])

    world.loop.run(connect())


def test_one_of_several_kinds_intercepts_them_all(aio_world):
    """grpc.aio asks it about its first kind only."""

    class Both(OfUnary, OfBidi):
        pass

    interceptor = Both()
    client = aio_world.connect(aio_world.serve(polite), interceptors=[interceptor])
    assert client.call("unary", request()).code.name == "OK"
    assert client.call("bidi", request()).code.name == "OK"
    assert len(interceptor.seen) == 2
    assert isinstance(client.stub, GreeterStub)
