"""`grpc.intercept_channel` around our channels, and server interceptors of both worlds, beside grpcio."""

from __future__ import annotations

import threading
from typing import NamedTuple

import grpc
import grpc.aio
import pytest

from examples.hello.hello_pb2 import HelloReply
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.peers import KINDS, STREAMS_REPLIES, STREAMS_REQUESTS, World
from tests.rpc.script import PATIENCE, READ, greet, polite, request, wait_for


class _Fields(NamedTuple):
    method: str
    timeout: float | None
    metadata: object
    credentials: object
    wait_for_ready: bool | None
    compression: object


class _Details(_Fields, grpc.ClientCallDetails):
    pass


class Tracing(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata to every call, and notes its end."""

    def __init__(self, name):
        self.name = name
        self.ended = []
        self.told = threading.Event()

    def _go(self, continuation, details, request):
        metadata = [*(details.metadata or ()), ("x-via", self.name)]
        call = continuation(
            _Details(details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, None),
            request,
        )
        call.add_done_callback(self._end)
        return call

    def _end(self, call):
        self.ended.append(call.code())
        self.told.set()

    intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _go


@pytest.fixture(params=["grpcio", "ours"])
def threads(request):
    world = World("sync", request.param, "ours")
    yield world
    world.close()


@pytest.fixture(params=[("sync", "grpcio"), ("sync", "ours"), ("aio", "grpcio"), ("aio", "ours")], ids="-".join)
def servers(request):
    kind, make = request.param
    world = World(kind, "ours", make)
    yield world
    world.close()


def intercepted(client, *interceptors):
    client.channel = grpc.intercept_channel(client.channel, *interceptors)
    client.stub = GreeterStub(client.channel)
    return client


def saying():
    pairs = yield lambda context: context.invocation_metadata()
    said = ",".join(value for key, value in pairs if key == "x-via")
    while (yield READ) is not None:
        yield HelloReply(message=said)


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_that_interceptors_add_is_sent(threads, kind):
    first, second = Tracing("1"), Tracing("2")
    client = intercepted(threads.connect(threads.serve(saying)), first, second)
    assert client.call(kind, request()).messages == ["1,2"]
    for one in (first, second):
        assert one.told.wait(PATIENCE)
        assert one.ended == [grpc.StatusCode.OK]


@pytest.mark.parametrize("kind", KINDS)
def test_the_interceptor_learns_of_a_failure(threads, kind):
    def refuse():
        yield READ
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    tracing = Tracing("1")
    client = intercepted(threads.connect(threads.serve(refuse)), tracing)
    answer = client.call(kind, request())
    assert (answer.code.name, answer.details) == ("NOT_FOUND", "no such thing")
    assert tracing.told.wait(PATIENCE)
    assert tracing.ended == [grpc.StatusCode.NOT_FOUND]


@pytest.mark.parametrize("kind", ["unary", "client_stream"])
def test_futures_are_intercepted(threads, kind):
    tracing = Tracing("1")
    client = intercepted(threads.connect(threads.serve(saying)), tracing)
    method = getattr(client.stub, KINDS[kind])
    future = method.future(iter([request()]) if kind in STREAMS_REQUESTS else request(), timeout=PATIENCE)
    assert future.result(PATIENCE).message == "1"
    assert tracing.told.wait(PATIENCE)
    assert future.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("kind", KINDS)
def test_an_interceptor_that_raises_fails_the_call(threads, kind):
    class Broken(Tracing):
        def _go(self, continuation, details, request):
            raise ValueError("not today")

        intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = _go

    client = intercepted(threads.connect(threads.serve(polite)), Broken("1"))
    given = iter([request()]) if kind in STREAMS_REQUESTS else request()
    call = getattr(client.stub, KINDS[kind])
    with pytest.raises(ValueError, match="not today"):
        next(call(given)) if kind in STREAMS_REPLIES else call(given)


# ---- client streams as futures, and callbacks


def test_a_client_stream_is_a_future(threads):
    client = threads.connect(threads.serve(polite))
    told = threading.Event()
    future = client.stub.CollectHellos.future(iter([request("Ann")]), timeout=PATIENCE)
    future.add_done_callback(lambda _: told.set())
    assert future.result(PATIENCE).message == "Hello, Ann!"
    assert told.wait(PATIENCE)
    assert future.done()
    assert not future.cancelled()
    assert future.exception() is None
    assert future.code() is grpc.StatusCode.OK


def test_a_client_stream_without_an_answer_is_given_up(threads):
    client = threads.connect(threads.serve(polite))
    go = threading.Event()

    def requests():
        yield request("Ann")
        go.wait(PATIENCE)

    future = client.stub.CollectHellos.future(requests(), timeout=PATIENCE)
    with pytest.raises(grpc.FutureTimeoutError):
        future.result(0.1)
    assert future.running()
    assert future.cancel()
    go.set()
    assert future.cancelled()
    with pytest.raises(grpc.FutureCancelledError):
        future.result(PATIENCE)


def test_a_failed_client_stream_raises_from_its_future(threads):
    def refuse():
        yield READ
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    future = threads.connect(threads.serve(refuse)).stub.CollectHellos.future(iter([request()]))
    with pytest.raises(grpc.RpcError, match="no such thing"):
        future.result(PATIENCE)
    assert future.exception(PATIENCE).code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("kind", sorted(STREAMS_REPLIES))
def test_a_callback_is_called_when_the_server_ends_a_call_that_nobody_reads(threads, kind):
    def silent():
        yield READ

    told = threading.Event()
    given = iter([request()]) if kind in STREAMS_REQUESTS else request()
    call = getattr(threads.connect(threads.serve(silent)).stub, KINDS[kind])(given, timeout=PATIENCE)
    if call.add_callback(told.set):
        assert told.wait(PATIENCE)
    assert not call.add_callback(told.set)
    assert call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("kind", KINDS)
def test_calls_on_a_closed_channel_are_a_value_error(threads, kind):
    client = threads.connect(threads.serve(polite))
    method = getattr(client.stub, KINDS[kind])
    client.close()
    with pytest.raises(ValueError, match=r"closed channel|Channel closed"):
        method(iter([request()]) if kind in STREAMS_REQUESTS else request())


# ---- servers


class Guard(grpc.ServerInterceptor):
    """Lets in who knows the word."""

    def intercept_service(self, continuation, handler_call_details):
        if ("x-word", "please") in [tuple(pair) for pair in handler_call_details.invocation_metadata]:
            return continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    def _refuse(self, _, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "say the word")


class AioGuard(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, handler_call_details):
        if ("x-word", "please") in [tuple(pair) for pair in handler_call_details.invocation_metadata]:
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    async def _refuse(self, _, context):
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "say the word")


class Noting:
    def __init__(self, name, notes):
        self._name, self._notes = name, notes


class Note(Noting, grpc.ServerInterceptor):
    def intercept_service(self, continuation, handler_call_details):
        self._notes.append((self._name, handler_call_details.method))
        return continuation(handler_call_details)


class AioNote(Noting, grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation, handler_call_details):
        self._notes.append((self._name, handler_call_details.method))
        return await continuation(handler_call_details)


@pytest.mark.parametrize("kind", KINDS)
def test_server_interceptors_see_every_kind_in_order(servers, kind):
    notes = []
    make = AioNote if servers.kind == "aio" else Note
    client = servers.connect(servers.serve(polite, interceptors=[make("first", notes), make("second", notes)]))
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    path = f"/hello.Greeter/{KINDS[kind]}"
    assert notes == [("first", path), ("second", path)]


def test_a_server_interceptor_may_refuse(servers):
    guard = AioGuard() if servers.kind == "aio" else Guard()
    client = servers.connect(servers.serve(polite, interceptors=[guard]))
    answer = client.call("unary", request())
    assert (answer.code.name, answer.details) == ("PERMISSION_DENIED", "say the word")
    assert client.call("unary", request("Ann"), metadata=(("x-word", "please"),)).messages == ["Hello, Ann!"]


def test_a_method_that_nobody_serves_is_intercepted_too(servers):
    notes = []
    make = AioNote if servers.kind == "aio" else Note
    client = servers.connect(servers.serve(polite, interceptors=[make("first", notes)]))
    client.stub.SayHello = client.channel.unary_unary("/nobody.Service/SayHello", lambda _: b"", HelloReply.FromString)
    assert client.call("unary", request()).code is grpc.StatusCode.UNIMPLEMENTED
    assert notes == [("first", "/nobody.Service/SayHello")]


def test_calls_beyond_the_maximum_are_refused(servers):
    arrived, go = threading.Event(), threading.Event()

    def wait():
        asked = yield READ
        if asked.name == "stay":
            arrived.set()
            yield wait_for(go)
        yield greet(asked)

    client = servers.connect(servers.serve(wait, maximum_concurrent_rpcs=1))
    first = client.begin("server_stream", request("stay"))
    assert arrived.wait(PATIENCE)
    answer = client.call("unary", request())
    assert (answer.code.name, answer.details) == ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!")
    go.set()
    assert first.read().message == "Hello, stay!"
    assert first.read() is None
