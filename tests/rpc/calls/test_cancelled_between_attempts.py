"""A call that is cancelled while one of its attempts has ended and the next has not begun, or has just begun."""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from rpc.attempt import Attempt
from rpc.blocking.stream import StreamCall
from tests.rpc.parity.test_retries_parity import Failing, options, retrying
from tests.rpc.peers import World
from tests.rpc.script import PATIENCE, READ, greet, request, stay_until_over
from tests.rpc.tls.ends import until


def long_backoff():
    """Nothing is sent anew within a test."""
    policy = {
        "maxAttempts": 2,
        "initialBackoff": "20s",
        "maxBackoff": "20s",
        "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return options(retryPolicy=policy)


@pytest.fixture(params=["grpcio", "ours"])
def client(request):
    """In threads, of either make; `served` has what its server saw."""
    world = World("sync", request.param, "ours")
    script = Failing(1)
    made = world.connect(world.serve(script), long_backoff())
    made.served = script
    yield made
    world.close()


def test_a_stream_that_nobody_reads_is_active_while_it_is_to_be_sent_anew(client):
    call = client.stub.ListHellos(request(), timeout=PATIENCE)
    until(lambda: client.served.calls)
    time.sleep(0.2)  # the first attempt's end is there
    assert call.is_active()
    assert not call.done()
    assert call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert len(client.served.calls) == 1


def test_whoever_reads_while_it_is_cancelled_is_told_at_once(client):
    call = client.stub.ListHellos(request(), timeout=PATIENCE)
    ends = []

    def read():
        try:
            next(call)
        except grpc.RpcError as error:
            ends.append(error.code())

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: client.served.calls)
    time.sleep(0.2)
    assert call.cancel()
    reader.join(PATIENCE / 2)
    assert ends == [grpc.StatusCode.CANCELLED]


def test_an_attempt_that_ends_while_its_call_is_being_cancelled_loses_nothing(sync_world, monkeypatch):
    """The one who cancels has seen the attempt active, and the reader its end before that one goes on."""
    script = Failing(1)
    client = sync_world.connect(sync_world.serve(script), long_backoff())
    give_up = StreamCall._give_up

    def give_up_later(call, verdict):
        until(lambda: call._call is None)  # the plan waits for the next attempt
        give_up(call, verdict)

    monkeypatch.setattr(StreamCall, "_give_up", give_up_later)
    monkeypatch.setattr(StreamCall, "is_active", lambda call: call._outcome is None)
    call = client.stub.ListHellos(request(), timeout=PATIENCE)
    canceller = threading.Thread(target=call.cancel)
    canceller.start()
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    canceller.join()
    assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert time.monotonic() - began < PATIENCE / 2


def test_the_attempt_that_is_cancelled_is_the_last_one(sync_world, monkeypatch):
    """A future's first attempt fails, and its second is begun, before the thread that began the first goes on."""
    second, over, started = threading.Event(), threading.Event(), []

    def script():
        started.append(1)
        if len(started) == 1:
            yield lambda context: context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        second.set()
        yield stay_until_over(over)
        yield greet((yield READ))

    client = sync_world.connect(sync_world.serve(script), retrying())
    grpc.channel_ready_future(client.channel).result(PATIENCE)
    start_unary, first = Attempt.start_unary, threading.Event()

    def start_slowly(attempt, callback):
        key = start_unary(attempt, callback)
        if not first.is_set():
            first.set()
            assert second.wait(PATIENCE)
        return key

    monkeypatch.setattr(Attempt, "start_unary", start_slowly)
    future = client.stub.SayHello.future(request(), timeout=PATIENCE)
    assert future.cancel()
    assert over.wait(PATIENCE / 2)
