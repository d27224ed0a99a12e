"""Servers that allow few streams: more connections for the calls that wait, one of which stays (gRFC A105)."""

from __future__ import annotations

import asyncio
import gc
import json
import threading

import grpc
import pytest

from rpc.options import ChannelOptions
from rpc.service_config import InvalidServiceConfigError
from rpc.transport import subchannel as subchannels
from tests.rpc.peers import KINDS
from tests.rpc.saturation import TWO_STREAMS, at_most, endpoint_of, queued
from tests.rpc.script import AIO_CONTEXTS, PATIENCE, READ, greet, request
from tests.rpc.tls.ends import until


def until_set(event):
    """As `wait_for`, for more handlers than an event loop has threads."""

    async def poll():
        while not event.is_set():  # noqa: ASYNC110 - it is set by another thread
            await asyncio.sleep(0.01)

    def step(context):
        return poll() if isinstance(context, AIO_CONTEXTS) else event.wait(PATIENCE)

    return step


class Held:
    """A script whose handlers stay until ``go``; who their peers are."""

    def __init__(self):
        self.peers, self.go = [], threading.Event()

    def __call__(self):
        yield lambda context: self.peers.append(context.peer())
        asked = yield READ
        yield until_set(self.go)
        yield greet(asked)

    def arrive(self, count):
        until(lambda: len(self.peers) >= count, f"{count} calls did not get there at once")
        return set(self.peers)


@pytest.fixture
def held():
    held = Held()
    yield held
    held.go.set()


def finished(calls, names):
    assert [call.read().message for call in calls] == [f"Hello, {name}!" for name in names]
    assert [call.read() for call in calls] == [None] * len(calls)
    assert [call.code().name for call in calls] == ["OK"] * len(calls)


# ---- more connections


@pytest.mark.parametrize("kind", ["server_stream", "bidi"])
def test_ten_calls_run_at_once_where_two_are_allowed_on_a_connection(world, held, kind):
    """grpcio does it, too, where a service config says so."""
    client = world.connect(world.serve(held, TWO_STREAMS, threads=32), at_most(10))
    calls = [client.begin(kind, request(str(number))) for number in range(10)]
    assert len(held.arrive(10)) == 5
    held.go.set()
    for call in calls if kind == "bidi" else ():
        call.done_writing()
    finished(calls, range(10))


def test_ten_unary_calls_run_at_once_by_default(our_world, held):
    client = our_world.connect(our_world.serve(held, TWO_STREAMS, threads=32))
    calls = [client.begin("unary", request(str(number))) for number in range(10)]
    assert len(held.arrive(10)) == 5
    held.go.set()
    assert [call.code().name for call in calls] == ["OK"] * 10


def test_a_blocking_client_stream_and_threads_that_wait_run_at_once_too(sync_world, held):
    client = sync_world.connect(sync_world.serve(held, TWO_STREAMS, threads=32))
    answers = []
    callers = [
        threading.Thread(target=lambda kind=kind: answers.append(client.call(kind, request("Ann"))))
        for kind in [*KINDS, *KINDS]
    ]
    for caller in callers:
        caller.start()
    assert len(held.arrive(len(callers))) == len(callers) / 2
    held.go.set()
    for caller in callers:
        caller.join(PATIENCE)
    assert [answer.messages for answer in answers] == [["Hello, Ann!"]] * len(callers)


def test_a_slow_server_with_a_stream_left_gets_no_second_connection(world, held):
    client = world.connect(world.serve(held, [("grpc.max_concurrent_streams", 4)], threads=32), at_most(10))
    calls = [client.begin("server_stream", request(str(number))) for number in range(4)]
    assert len(held.arrive(4)) == 1
    held.go.set()
    finished(calls, range(4))
    assert len(set(held.peers)) == 1


# ---- the bound


@pytest.mark.parametrize("bound", [1, 2])
@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_calls_beyond_the_bound_wait_and_honour_their_deadlines(world, held, bound, kind):
    address = world.serve(held, TWO_STREAMS, threads=32)
    client = world.connect(address, at_most(bound))
    running = [client.begin("server_stream", request(str(number))) for number in range(2 * bound)]
    assert len(held.arrive(2 * bound)) == bound
    waiting = client.begin("server_stream", request("later"))
    late = client.call(kind, request(), timeout=0.3)
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    if world.client_make == "ours" and bound > 1:
        assert f"{address}: all streams that the server allows on {bound} connection(s) are taken" in late.details
    assert len(held.peers) == 2 * bound
    held.go.set()
    finished([*running, waiting], [*range(2 * bound), "later"])
    assert len(set(held.peers)) == bound


def test_who_waits_goes_on_in_order(our_world):
    order, step, arrived = [], threading.Semaphore(0), threading.Semaphore(0)

    def take_step(context):
        if isinstance(context, AIO_CONTEXTS):
            return asyncio.to_thread(step.acquire, timeout=PATIENCE)
        return step.acquire(timeout=PATIENCE)

    def one_by_one():
        order.append((yield READ).name)
        arrived.release()
        yield take_step
        yield greet(request())

    options = [("grpc.max_connections_per_subchannel_cap", 2)]
    client = our_world.connect(our_world.serve(one_by_one, [("grpc.max_concurrent_streams", 1)]), options)
    calls = []
    for number in range(8):
        calls.append(client.begin("server_stream", request(str(number))))
        if number < 2:
            assert arrived.acquire(timeout=PATIENCE)
        else:
            queued(client, number - 1)
    for _ in range(6):
        step.release()
        assert arrived.acquire(timeout=PATIENCE)
    step.release(2)
    finished(calls, ["you"] * 8)
    assert order == [str(number) for number in range(8)]


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ([], 10),
        (at_most(3), 3),
        (at_most(30), 10),
        (at_most(0), 1),
        ([("grpc.max_connections_per_subchannel_cap", 1)], 1),
        ([("grpc.max_connections_per_subchannel_cap", 20)], 20),
        ([*at_most(15), ("grpc.max_connections_per_subchannel_cap", 20)], 15),
        ([("grpc.service_config", "{}")], 10),
    ],
)
def test_the_bound_is_the_service_configs_up_to_the_cap(options, bound):
    assert ChannelOptions.parse(options).max_connections == bound


@pytest.mark.parametrize("scaling", [3, {"maxConnectionsPerSubchannel": "many"}])
def test_a_service_config_that_scales_in_some_other_way_is_refused(scaling):
    with pytest.raises(InvalidServiceConfigError, match="connectionScaling"):
        ChannelOptions.parse([("grpc.service_config", json.dumps({"connectionScaling": scaling}))])


# ---- fewer again


def test_after_idleness_one_connection_remains_and_is_used(our_world, held, monkeypatch):
    monkeypatch.setattr(subchannels, "_SPARE_IDLE", 0.2)
    client = our_world.connect(our_world.serve(held, TWO_STREAMS, threads=32))
    calls = [client.begin("server_stream", request(str(number))) for number in range(6)]
    assert len(held.arrive(6)) == 3
    held.go.set()
    finished(calls, range(6))
    endpoint = endpoint_of(client)
    until(lambda: len(endpoint.transports) == 1, "connections that nobody uses stay")
    assert endpoint.transport is not None
    held.peers.clear()
    for number in range(4):
        assert client.call("unary", request(str(number))).messages == [f"Hello, {number}!"]
    assert len(set(held.peers)) == 1
    assert list(endpoint.transports.values()) == [endpoint.transport]


# ---- calls that end while they wait


def test_calls_given_up_in_the_queue_leave_their_places_to_others(our_world, held):
    client = our_world.connect(our_world.serve(held, TWO_STREAMS), at_most(2))
    running = [client.begin("server_stream", request(str(number))) for number in range(4)]
    held.arrive(4)
    cancelled = [client.begin(kind, request("cancelled")) for kind in ("unary", "server_stream")]
    cancelled.append(client.begin("bidi"))
    dropped = [client.begin("unary", request("dropped"))]
    timed = [client.begin(kind, request("late"), timeout=0.2) for kind in ("unary", "server_stream")]
    last = [client.begin(kind, request("last")) for kind in ("unary", "server_stream")]
    for call in cancelled:
        call.cancel()
    dropped.clear()
    gc.collect()
    assert [call.code() for call in timed] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 2
    held.go.set()
    finished(running, range(4))
    assert [call.code() for call in cancelled] == [grpc.StatusCode.CANCELLED] * 3
    finished(last[1:], ["last"])
    assert last[0].code().name == "OK"
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert not endpoint_of(client).pending.calls


def test_calls_in_the_queue_are_cancelled_when_the_channel_is_closed(our_world, held):
    client = our_world.connect(our_world.serve(held, TWO_STREAMS), at_most(2))
    calls = [client.begin("server_stream", request(str(number))) for number in range(4)]
    held.arrive(4)
    calls += [client.begin(kind, request()) for kind in ("unary", "server_stream")]
    calls.append(client.begin("bidi"))
    queued(client, 3)
    client.close()
    assert [call.code() for call in calls] == [grpc.StatusCode.CANCELLED] * 7


# ---- many


@pytest.mark.parametrize("kind", KINDS)
def test_a_crowd_of_threads_shares_few_streams_and_nothing_is_lost(sync_world, kind):
    client = sync_world.connect(sync_world.serve(_brief, TWO_STREAMS, threads=32), at_most(3))
    answers, lock = [], threading.Lock()

    def caller():
        for _ in range(25):
            answer = client.call(kind, request("Ann"))
            with lock:
                answers.append((answer.code.name, answer.messages, answer.details))

    callers = [threading.Thread(target=caller) for _ in range(16)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(PATIENCE * 3)
    assert answers == [("OK", ["Hello, Ann!"], "")] * 400
    assert 1 <= len(endpoint_of(client).transports) <= 3


def test_a_crowd_of_tasks_shares_few_streams_and_nothing_is_lost(aio_world):
    client = aio_world.connect(aio_world.serve(_brief, TWO_STREAMS), at_most(3))
    calls = [client.begin("unary", request("Ann")) for _ in range(200)]
    streams = [client.begin("server_stream", request("Ann")) for _ in range(100)]
    assert [call.code().name for call in calls] == ["OK"] * 200
    finished(streams, ["Ann"] * 100)
    assert 1 <= len(endpoint_of(client).transports) <= 3


def test_a_crowd_of_futures_shares_few_streams_and_nothing_is_lost(sync_world):
    client = sync_world.connect(sync_world.serve(_brief, TWO_STREAMS), at_most(3))
    calls = [client.begin("unary", request("Ann")) for _ in range(200)]
    assert [call.code().name for call in calls] == ["OK"] * 200
    assert 1 <= len(endpoint_of(client).transports) <= 3


def _brief():
    yield greet((yield READ))


def test_no_call_is_lost_while_connections_reach_their_age(our_world):
    """Connections come and go while others wait for their streams."""
    options = [*TWO_STREAMS, ("grpc.max_connection_age_ms", 100)]
    client = our_world.connect(our_world.serve(_brief, options, threads=32), at_most(3))
    for _ in range(10):
        calls = [client.begin("unary", request("Ann")) for _ in range(40)]
        assert [(call.code().name, call.details()) for call in calls] == [("OK", "")] * 40
