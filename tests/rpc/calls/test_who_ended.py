"""Who ended a call is no matter of words: a peer that says what we say when we cancel has not made us cancel."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest
from grpc import aio

from tests.rpc.parity.test_retries_parity import SINGLE, Failing, retrying
from tests.rpc.peers import KINDS
from tests.rpc.script import READ, request, stay_until_over

WORDS = ["Locally cancelled by application!", "Channel closed!", ""]


def saying(words):
    def script():
        yield READ
        yield lambda context: context.abort(grpc.StatusCode.CANCELLED, words)

    return script


def staying():
    yield stay_until_over(threading.Event())


def first(kind, stub):
    """Begin a call as a program would that wants its future; requests where they are a stream."""
    method = getattr(stub, KINDS[kind])
    if kind == "unary":
        return method.future(request("Ann")) if hasattr(method, "future") else method(request("Ann"))
    if kind == "server_stream":
        return method(request("Ann"))
    if kind == "client_stream":
        return method.future(iter([request("Ann")])) if hasattr(method, "future") else method(iter([request("Ann")]))
    return method(iter([request("Ann")]))


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_cancels_ends_the_call_with_an_error(world, kind, words):
    client = world.connect(world.serve(saying(words)))
    if world.kind == "sync":
        call = first(kind, client.stub)
        error = call.exception(timeout=30)
        assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, words)
        assert not call.cancelled()
        with pytest.raises(grpc.RpcError):
            call.result() if kind in ("unary", "client_stream") else next(call)
        return

    async def call():
        made = first(kind, client.stub)
        if kind in ("unary", "client_stream"):
            await made
        else:
            await made.read()

    with pytest.raises(aio.AioRpcError) as raised:
        world.loop.run(call())
    assert (raised.value.code(), raised.value.details()) == (grpc.StatusCode.CANCELLED, words)


@pytest.mark.parametrize("kind", KINDS)
def test_who_cancels_is_told_that_it_was_cancelled(world, kind):
    client = world.connect(world.serve(staying))
    if world.kind == "sync":
        call = first(kind, client.stub)
        assert call.cancel()
        with pytest.raises(grpc.FutureCancelledError):
            call.exception(timeout=30)
        assert call.cancelled()
        return

    async def cancelled():
        call = first(kind, client.stub)
        await asyncio.sleep(0)
        call.cancel()
        try:
            await (call if kind in ("unary", "client_stream") else call.read())
        except asyncio.CancelledError:
            return True
        return False

    assert world.loop.run(cancelled())


@pytest.mark.parametrize("kind", SINGLE)
def test_a_status_of_the_peers_is_retried_whatever_it_is_called(world, kind):
    script = Failing(2, code=grpc.StatusCode.CANCELLED)
    answer = world.connect(world.serve(script), retrying(codes=["CANCELLED"])).call(kind, request("Ann"))
    assert (answer.code.name, answer.messages) == ("OK", ["Hello, Ann!"])


def test_requests_are_not_read_on_after_the_peer_has_cancelled(aio_world):
    world = aio_world
    client = world.connect(world.serve(saying("enough")))
    left = asyncio.Event()

    async def endless():
        try:
            yield request("Ann")
            await asyncio.sleep(3600)
        finally:
            left.set()

    async def call():
        with pytest.raises(aio.AioRpcError):
            await client.stub.CollectHellos(endless())
        await asyncio.wait_for(left.wait(), 30)

    world.loop.run(call())


def test_a_channel_that_is_closed_cancels_its_calls(world):
    """In asyncio it counts as cancelled, in threads it does not, as grpcio has it."""
    client = world.connect(world.serve(staying))
    if world.kind == "sync":
        call = client.stub.ListHellos(request("Ann"))
        client.channel.close()
        error = call.exception(timeout=30)
        assert error.code() is grpc.StatusCode.CANCELLED
        assert not call.cancelled()
        return

    async def close():
        call = client.stub.ListHellos(request("Ann"))
        await asyncio.sleep(0)
        await client.channel.close()
        try:
            await call.read()
        except asyncio.CancelledError:
            return call.cancelled()
        return False

    assert world.loop.run(close())
