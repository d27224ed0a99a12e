"""Steps that wait until a time, and the thread that waits with calls that have none: by a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from rpc.blocking.waiting import Waiting
from rpc.core import ChannelCore
from rpc.steps import AwaitFirst, Wait, first_of
from tests.rpc.script import PATIENCE
from tests.rpc.tls.ends import until

HOUR = 3600.0


class Handle:
    """An attempt that goes on, as far as waiting for it needs."""

    settled = False
    on_event = None


@pytest.fixture
def changed():
    return threading.Condition()


@pytest.fixture
def core(changed, clock):
    def notify():
        with changed:
            changed.notify_all()

    return ChannelCore("xds:///reviews.demo:9080", notify, clock=clock)


def test_the_first_of_several_is_waited_for_until_its_time(clock):
    handles = (Handle(), Handle())
    plan = first_of(handles, clock() + HOUR, clock)
    assert next(plan) == AwaitFirst(handles, clock() + HOUR)
    clock.advance(HOUR - 1)
    assert isinstance(next(plan), AwaitFirst)
    clock.advance(1)
    with pytest.raises(StopIteration) as end:
        next(plan)
    assert end.value.value is None


def test_one_that_is_settled_when_the_time_is_over_is_taken(clock):
    handles = (Handle(), Handle())
    plan = first_of(handles, clock() + HOUR, clock)
    next(plan)
    clock.advance(HOUR)
    handles[1].settled = True
    with pytest.raises(StopIteration) as end:
        next(plan)
    assert end.value.value is handles[1]


def test_steps_end_at_their_times_in_any_order_and_the_thread_with_the_last(core, clock, changed):
    before = set(threading.enumerate())
    waiting, ended = Waiting(core, changed), {hours: threading.Event() for hours in (3, 1, 2)}
    for hours, event in ended.items():
        waiting.add(Wait(core.generation, clock() + hours * HOUR), lambda _answer, event=event: event.set())
    for hours in sorted(ended):
        clock.advance(HOUR)
        with changed:
            changed.notify_all()
        assert ended[hours].wait(PATIENCE)
        assert [event.is_set() for _, event in sorted(ended.items())] == [n <= hours for n in sorted(ended)]
    until(lambda: not set(threading.enumerate()) - before, "its thread stays")


def test_a_change_of_the_channel_ends_a_step_before_its_time(core, clock, changed):
    waiting, over = Waiting(core, changed), threading.Event()
    waiting.add(Wait(core.generation, clock() + HOUR), lambda _answer: over.set())
    core.changed()
    assert over.wait(PATIENCE)
