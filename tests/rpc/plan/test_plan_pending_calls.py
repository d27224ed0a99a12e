"""The call plan where the server has no stream free: who waits, who dials, who is next. Driven by hand."""

from __future__ import annotations

import pytest

from rpc._native import Outcome
from rpc.attempt import Attempt
from rpc.core import ChannelCore
from rpc.errors import NOT_SENT
from rpc.options import ChannelOptions
from rpc.steps import AwaitStream, Dial
from tests.rpc.configs import cluster, config, endpoint
from tests.rpc.transports import Call, FakeClientTransport, code, connect

OK = Outcome(0, response_started=True)


@pytest.fixture
def core(clock):
    core = ChannelCore("xds:///reviews.demo:9080", lambda: None, clock=clock)
    core.configure(ChannelOptions(max_connections=2), ())
    core.on_config(config(cluster("c", endpoint("10.0.0.1"))))
    return core


def full(core):
    """Its one connection, READY, with all streams taken."""
    subchannel = connect(core)
    subchannel.transport.streams = 0
    return subchannel


def add(subchannel, streams):
    transport = FakeClientTransport(streams=streams)
    assert subchannel.claim()
    subchannel.opened(transport)
    return transport


def refused(call):
    """The first step, and what follows when the engine has no stream for it."""
    assert isinstance(call.go(), Attempt)
    return call.go(NOT_SENT)


def pending_of(call):
    """Where the call waits, whatever it has dialled before."""
    while isinstance(step := call.go(), Dial):
        pass
    assert isinstance(step, AwaitStream)
    return step.call


def test_the_first_that_finds_no_stream_has_another_connection_dialled_and_the_others_wait(core, clock):
    subchannel = full(core)
    first, second = Call(core, timeout=5), Call(core)
    assert refused(first) == Dial(subchannel)
    step = first.go()
    assert isinstance(step, AwaitStream)
    assert step.until == clock.now + 5
    assert subchannel.claim()
    step = second.go()
    assert isinstance(step, AwaitStream), "somebody is at it"
    assert step.until is None


def test_the_further_connection_takes_as_many_as_it_has_streams_for(core):
    subchannel = full(core)
    calls = [Call(core) for _ in range(3)]
    refused(calls[0])
    pending = [pending_of(call) for call in calls]
    transport = add(subchannel, 2)
    assert [one.called for one in pending] == [True, True, False]
    assert [call.go().transport for call in calls[:2]] == [transport, transport]
    assert subchannel.transport is transport
    assert calls[0].go(OK) is OK


def test_a_stream_that_is_free_elsewhere_is_taken_at_once_from_the_oldest_connection(core):
    subchannel = connect(core)
    oldest = subchannel.transport
    oldest.streams = 0
    waiting = Call(core)
    refused(waiting)
    waiting.go()
    newest = add(subchannel, 5)
    assert waiting.go().transport is newest
    newest.streams, oldest.streams = 0, 1
    call = Call(core)
    assert call.go().transport is newest
    assert call.go(NOT_SENT).transport is oldest
    assert subchannel.transport is oldest
    assert newest.said[-1] == "spare"
    assert oldest.said[-1] == "stays"


def test_nobody_overtakes_the_queue(core):
    subchannel = full(core)
    waiting = Call(core)
    refused(waiting)
    pending = waiting.go().call
    late = Call(core)
    assert not isinstance(late.go(), Attempt)
    subchannel.transport.streams = 1
    subchannel.assign_streams()
    assert pending.called
    assert waiting.go().transport is subchannel.transport


def test_who_was_called_and_found_the_stream_taken_is_first_again(core):
    subchannel = full(core)
    slow, next_one = Call(core), Call(core)
    refused(slow)
    first, second = pending_of(slow), pending_of(next_one)
    subchannel.transport.streams = 1
    subchannel.assign_streams()
    assert (first.called, second.called) == (True, False)
    assert isinstance(slow.go(), Attempt)
    subchannel.transport.streams = 0  # another was faster
    slow.go(NOT_SENT)
    assert list(subchannel.pending.calls) == [first, second]


@pytest.mark.parametrize("when", ["in the queue", "called", "sending"])
def test_who_gives_up_leaves_the_stream_to_the_next(core, when):
    subchannel = full(core)
    first, second = Call(core), Call(core)
    refused(first)
    first.go()
    assert subchannel.claim()  # so that nobody else dials
    pending = second.go().call
    if when != "in the queue":
        subchannel.transport.streams = 1
        subchannel.assign_streams()
        assert not pending.called
    if when == "sending":
        assert isinstance(first.go(), Attempt)
    first._plan.close()
    subchannel.transport.streams = 1
    subchannel.assign_streams()
    assert pending.called
    assert not subchannel.pending.calls


def test_the_bound_holds_and_deadlines_too(core, clock):
    subchannel = full(core)
    waiting = Call(core)
    refused(waiting)
    waiting.go()
    add(subchannel, 0)
    assert not subchannel.grows
    call = Call(core, timeout=1)
    clock.advance(1)
    outcome = call.go()
    assert code(outcome) == "DEADLINE_EXCEEDED"
    assert "10.0.0.1:9080: all streams that the server allows on 2 connection(s) are taken" in outcome.details


def test_after_a_dial_that_failed_who_is_first_waits_for_the_back_off(core, clock):
    subchannel = full(core)
    call = Call(core)
    assert refused(call) == Dial(subchannel)
    pending = call.go().call
    assert subchannel.claim()
    subchannel.failed("Connection refused")
    assert pending.woken
    step = call.go()
    assert isinstance(step, AwaitStream)
    assert 0 < step.until - clock() < 1.3
    clock.let_back_off_end(subchannel)
    assert call.go() == Dial(subchannel)


def test_when_the_last_connection_is_lost_the_calls_are_planned_anew(core):
    subchannel = full(core)
    calls = [Call(core) for _ in range(2)]
    refused(calls[0])
    pending = [pending_of(call) for call in calls]
    subchannel.transport.usable = False
    subchannel.lost()
    assert [one.called for one in pending] == [True, True]
    assert [call.go() for call in calls] == [Dial(subchannel), Dial(subchannel)]


def test_when_the_endpoint_is_gone_the_calls_go_to_the_others(core):
    full(core)
    call = Call(core)
    refused(call)
    pending = call.go().call
    core.on_config(config(cluster("c", endpoint("10.0.0.2"))))
    assert pending.called
    assert call.go().subchannel.key.address == "10.0.0.2"


def test_a_lost_connection_of_several_is_replaced_only_as_the_one_for_new_calls(core):
    subchannel = full(core)
    old = subchannel.transport
    waiting = Call(core)
    refused(waiting)
    waiting.go()
    new = add(subchannel, 5)
    assert subchannel.transport is new
    new.usable = False
    subchannel.lost()
    assert subchannel.transport is old
    assert list(subchannel.transports.values()) == [old]
