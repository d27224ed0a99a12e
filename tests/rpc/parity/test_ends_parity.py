"""Calls that end early, on every pairing: deadlines, and cancellation by the client, seen at both ends."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

from tests.rpc.peers import KINDS
from tests.rpc.script import PATIENCE, READ, greet, greet_and_stay, polite, request, stay_until_over, wait_for

SOON = 0.6  # a deadline that is meant to pass, but not before the call has arrived


def staying(arrived, over):
    def stay():
        arrived.set()
        yield stay_until_over(over)

    return stay


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_ends_the_call_at_both_ends(world, kind):
    arrived, over = threading.Event(), threading.Event()
    answer = world.connect(world.serve(staying(arrived, over))).call(kind, request(), timeout=SOON)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "Deadline Exceeded" in answer.details
    assert arrived.is_set()
    assert over.wait(PATIENCE), "the handler did not learn that the deadline passed"


def test_the_handler_sees_how_much_time_is_left(world):
    left = []

    def look():
        left.append((yield lambda context: context.time_remaining()))
        yield greet((yield READ))

    assert world.connect(world.serve(look)).call("unary", request(), timeout=PATIENCE).code.name == "OK"
    assert PATIENCE / 2 < left[0] < PATIENCE + 1


def test_a_call_without_a_deadline_has_no_end(world):
    left = []

    def look():
        left.append((yield lambda context: context.time_remaining()))
        yield greet((yield READ))

    assert world.connect(world.serve(look)).call("unary", request(), timeout=None).code.name == "OK"
    assert left[0] is None or left[0] > 1e6  # grpcio's servers say a very long time


def test_a_deadline_in_the_past_fails_at_once(world):
    answer = world.connect(world.serve(polite)).call("unary", request(), timeout=-1)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_replies_that_came_before_the_deadline_are_kept(world):
    over = threading.Event()
    answer = world.connect(world.serve(greet_and_stay(over))).call("server_stream", request("Ann"), timeout=2 * SOON)
    assert answer.messages == ["Hello, Ann!"]
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert over.wait(PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_call_ends_at_both_ends(world, kind):
    arrived, over = threading.Event(), threading.Event()
    call = world.connect(world.serve(staying(arrived, over))).begin(kind, request())
    assert arrived.wait(PATIENCE)
    call.cancel()
    if world.kind == "aio" or kind != "unary":  # a cancelled grpc.Future has no code to ask for in grpcio's threads
        assert call.code() is grpc.StatusCode.CANCELLED
        assert call.details() == "Locally cancelled by application!"
    assert over.wait(PATIENCE), "the handler did not learn that the client cancelled"


def test_a_stream_cancelled_while_it_is_read_raises_in_the_reader(world):
    over = threading.Event()
    call = world.connect(world.serve(greet_and_stay(over))).begin("server_stream", request("Ann"))
    assert call.read().message == "Hello, Ann!"
    raised = []

    def read_on():
        try:
            call.read()
        except BaseException as error:
            raised.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    reader.join(SOON)  # it waits now, on any machine that is not asleep; if it is late, the test is only easier
    call.cancel()
    reader.join(PATIENCE / 3)
    assert not reader.is_alive(), "the reader still waits for a call that is cancelled"
    if world.kind == "sync":
        assert raised[0].code() is grpc.StatusCode.CANCELLED
    else:
        assert type(raised[0]).__name__ == "CancelledError"
    assert over.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["unary", "client_stream"])
def test_cancelling_the_task_that_awaits_cancels_the_handler(world, kind):
    if world.kind != "aio":
        pytest.skip("tasks are asyncio's")
    arrived, over = threading.Event(), threading.Event()
    client = world.connect(world.serve(staying(arrived, over)))

    async def cancel_when_arrived():
        task = asyncio.ensure_future(client._whole(kind, [request()]))
        await asyncio.to_thread(arrived.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.loop.run(cancel_when_arrived())
    assert over.wait(PATIENCE)


def test_cancelling_the_task_that_reads_cancels_the_handler(world):
    if world.kind != "aio":
        pytest.skip("tasks are asyncio's")
    arrived, over = threading.Event(), threading.Event()
    client = world.connect(world.serve(staying(arrived, over)))

    async def cancel_when_arrived():
        task = asyncio.ensure_future(client._whole("server_stream", [request()]))
        await asyncio.to_thread(arrived.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.loop.run(cancel_when_arrived())
    assert over.wait(PATIENCE)


def test_a_cancel_after_the_end_changes_nothing(world):
    call = world.connect(world.serve(polite)).begin("server_stream", request())
    assert call.read() is not None
    assert call.read() is None
    call.cancel()
    assert call.code() is grpc.StatusCode.OK


def test_calls_on_one_connection_end_independently(world):
    arrived, over, go = threading.Event(), threading.Event(), threading.Event()

    def by_name():
        asked = yield READ
        if asked.name == "stay":
            arrived.set()
            yield stay_until_over(over)
        yield wait_for(go)
        yield greet(asked)

    client = world.connect(world.serve(by_name))
    other = client.begin("server_stream", request("other"))
    cancelled = client.begin("server_stream", request("stay"))
    assert arrived.wait(PATIENCE)
    cancelled.cancel()
    assert over.wait(PATIENCE)
    go.set()
    assert other.read().message == "Hello, other!"
    assert other.read() is None


def test_closing_the_channel_cancels_what_runs(world):
    arrived, over = threading.Event(), threading.Event()
    client = world.connect(world.serve(staying(arrived, over)))
    call = client.begin("server_stream", request())
    assert arrived.wait(PATIENCE)
    client.close()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert over.wait(PATIENCE)
