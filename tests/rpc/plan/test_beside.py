"""Plans that start attempts beside others: a hedge, a try with a limit, a copy for a mirror, in every kind of call.

The plans here are toys, made of the real steps; the calls, their runner, and what is on the wire are real.
"""

from __future__ import annotations

import threading
import time

import grpc
import pytest

from rpc.attempt import Attempt
from rpc.request_head import RequestHead
from rpc.steps import Dial, Start, Wait, first_of
from tests.rpc.script import PATIENCE, READ, greet, request, wait_for
from tests.rpc.tls.ends import until

KINDS = ["unary", "server_stream"]
PLANNED = ["rpc.blocking.callables", "rpc.blocking.future", "rpc.blocking.stream", "rpc.aio.unary", "rpc.aio.stream"]
SOON = 0.05  # seconds until another attempt is begun


class Seen:
    """What a server sees of its calls: the first of them to come stay for as long as the test says."""

    def __init__(self, *, held=1):
        self.lock = threading.Lock()
        self.came = 0
        self.held = held
        self.release = threading.Event()
        self.left = threading.Semaphore(0)

    def script(self):
        asked = yield READ
        with self.lock:
            self.came += 1
            first = self.came <= self.held
        if first:
            yield self.watch
            yield wait_for(self.release)
        yield greet(asked)

    def watch(self, context):
        """Hears of the end of the call, however it ends."""
        if hasattr(context, "add_done_callback"):
            context.add_done_callback(lambda *_: self.left.release())
        else:
            context.add_callback(self.left.release)


@pytest.fixture
def seen():
    """Its first call stays."""
    seen = Seen()
    yield seen
    seen.release.set()


@pytest.fixture
def seen_two():
    """Its first two stay."""
    seen = Seen(held=2)
    yield seen
    seen.release.set()


def picked(core, method, metadata, deadline):
    """An endpoint's pick, as the real plan finds it."""
    while True:
        generation, snapshot = core.generation, core.snapshot
        if snapshot is not None:
            head = RequestHead(method.path, snapshot.authority, metadata, "", deadline)
            pick, idle = snapshot.choose(head).pool.pick(head, generation)
            if pick is not None:
                return pick
            if idle is not None:
                yield Dial(idle)
                continue
        yield Wait(generation, deadline)


def attempts_of(core, method, payload, metadata, deadline):
    """Makes attempts of the call, each with a pick of its own."""

    def another():
        pick = yield from picked(core, method, metadata, deadline)
        attempt = Attempt(pick, method, payload, core.snapshot.authority, deadline, metadata, None)
        attempt.transport = pick.endpoint.subchannel.transport
        return attempt

    return another


def hedged(core, method, payload, metadata, deadline, _wait_for_ready):
    """After a while a second attempt; the first to be settled is taken, the other cancelled."""
    another = attempts_of(core, method, payload, metadata, deadline)
    handles = []
    try:
        while True:
            handles.append((yield Start((yield from another()))))
            until = time.monotonic() + SOON if len(handles) < 2 else deadline
            won = yield from first_of(tuple(handles), until)
            if won is not None:
                handles.remove(won)
                return won.result
    finally:
        for handle in handles:
            handle.cancel()


def tried_shortly(core, method, payload, metadata, deadline, _wait_for_ready):
    """Each try has only so much time."""
    another = attempts_of(core, method, payload, metadata, deadline)
    while True:
        handle = yield Start((yield from another()))
        won = yield from first_of((handle,), time.monotonic() + SOON)
        if won is not None:
            return won.result
        handle.cancel()


def mirrored(core, method, payload, metadata, deadline, _wait_for_ready):
    """A copy goes to where nobody waits for what comes of it."""
    another = attempts_of(core, method, payload, metadata, deadline)
    (yield Start((yield from another()))).let_go()
    return (yield (yield from another()))


@pytest.fixture
def plans(monkeypatch):
    def use(plan):
        for module in PLANNED:
            monkeypatch.setattr(f"{module}.plan_call", plan)

    return use


def gone(seen, count=1):
    return all(seen.left.acquire(timeout=PATIENCE) for _ in range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_attempts_the_one_that_answers_is_the_call_and_the_other_is_cancelled(our_world, plans, kind, seen):
    client = our_world.connect(our_world.serve(seen.script))
    plans(hedged)
    answer = client.call(kind, request("hedge"))
    assert (answer.code, answer.messages) == (grpc.StatusCode.OK, ["Hello, hedge!"])
    assert seen.came == 2
    assert gone(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_try_that_has_had_its_time_is_cancelled_and_another_begun(our_world, plans, kind, seen_two):
    seen = seen_two
    client = our_world.connect(our_world.serve(seen.script))
    plans(tried_shortly)
    answer = client.call(kind, request("again"))
    assert (answer.code, answer.messages) == (grpc.StatusCode.OK, ["Hello, again!"])
    assert gone(seen, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_goes_on_to_its_end_when_the_call_is_over_and_nobody_has_its_answer(our_world, plans, kind, seen):
    client = our_world.connect(our_world.serve(seen.script))
    plans(mirrored)
    answer = client.call(kind, request("copied"))
    assert (answer.code, answer.messages) == (grpc.StatusCode.OK, ["Hello, copied!"])
    assert not seen.left.acquire(timeout=SOON)  # the copy is still there
    seen.release.set()
    assert gone(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_whoever_cancels_the_call_cancels_every_attempt_of_it(our_world, plans, kind, seen_two):
    seen = seen_two
    client = our_world.connect(our_world.serve(seen.script))
    plans(hedged)
    call = client.begin(kind, request("never"))
    until(lambda: seen.came == 2, "no second attempt")
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert gone(seen, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_deadline_of_the_call_ends_every_attempt_of_it(our_world, plans, kind, seen_two):
    seen = seen_two
    client = our_world.connect(our_world.serve(seen.script))
    plans(hedged)
    answer = client.call(kind, request("late"), timeout=0.5)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gone(seen, 2)


def test_a_future_is_one_of_several_attempts_as_well(sync_world, plans, seen):
    client = sync_world.connect(sync_world.serve(seen.script))
    plans(hedged)
    future = client.stub.SayHello.future(request("future"), timeout=PATIENCE)
    assert future.result(PATIENCE).message == "Hello, future!"
    assert gone(seen)
