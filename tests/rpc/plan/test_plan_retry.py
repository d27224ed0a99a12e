"""The call plan after an attempt: what is the call's outcome, and what is sent once more."""

from __future__ import annotations

import json

import grpc
import pytest

from rpc._native import Origin, Outcome
from rpc.attempt import Attempt
from rpc.core import ChannelCore
from rpc.errors import NOT_SENT, failed
from rpc.options import ChannelOptions
from rpc.steps import Wait
from tests.rpc.configs import cluster, config, endpoint, route
from tests.rpc.transports import Call, connect

OK = Outcome(0, response_started=True)
REFUSED = failed(grpc.StatusCode.UNAVAILABLE, "GOAWAY", unprocessed=True)
ONE_ENDPOINT = config(cluster("c", endpoint("10.0.0.1")))


@pytest.fixture
def core(clock):
    return ChannelCore("xds:///reviews.demo:9080", lambda: None, clock=clock)


def test_a_retry_has_only_the_time_that_is_left_of_the_routes_time_out(core, clock):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("c", timeout=5)]))
    connect(core)
    call = Call(core)
    first = call.go()
    clock.advance(2)
    second = call.go(REFUSED)
    assert second.deadline == first.deadline


def test_an_outcome_is_the_calls_outcome(core):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    call = Call(core)
    call.go()
    assert call.go(OK) is OK


def test_a_failure_that_was_processed_is_not_tried_again(core):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    call = Call(core)
    call.go()
    outcome = failed(grpc.StatusCode.UNAVAILABLE, "reset")
    assert call.go(outcome) is outcome


def test_what_the_peer_never_processed_is_sent_once_more_and_not_twice(core):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    call = Call(core)
    assert isinstance(call.go(), Attempt)
    assert isinstance(call.go(REFUSED), Attempt)
    assert call.go(REFUSED) is REFUSED


def test_what_reached_a_server_is_sent_once_more_and_not_twice_whatever_became_of_the_links(core):
    core.on_config(config(cluster("c", *(endpoint(f"10.0.0.{n}") for n in range(1, 4)))))
    transports = [connect(core, f"10.0.0.{n}") for n in range(1, 4)]
    call = Call(core)
    for answer in (None, REFUSED):
        attempt = call.attempt(answer)
        assert isinstance(attempt, Attempt)
        attempt.transport.usable = False
        next(one for one in transports if one.transport is attempt.transport).lost()
    assert call.attempt(REFUSED) is REFUSED


def test_what_never_left_goes_on_to_the_next_link(core):
    core.on_config(config(cluster("c", *(endpoint(f"10.0.0.{n}") for n in range(1, 4)))))
    transports = [connect(core, f"10.0.0.{n}") for n in range(1, 4)]
    call, answer, seen = Call(core), None, set()
    for _ in range(3):
        attempt = call.attempt(answer)
        seen.add(attempt.transport)
        attempt.transport.usable = False
        next(one for one in transports if one.transport is attempt.transport).lost()
        answer = NOT_SENT
    assert len(seen) == 3


def test_what_never_left_goes_on_also_after_it_was_sent_once_more(core):
    core.on_config(config(cluster("c", *(endpoint(f"10.0.0.{n}") for n in range(1, 4)))))
    transports = [connect(core, f"10.0.0.{n}") for n in range(1, 4)]
    call = Call(core)
    call.attempt()
    lost = call.attempt(REFUSED)
    lost.transport.usable = False
    next(one for one in transports if one.transport is lost.transport).lost()
    last = call.attempt(NOT_SENT)
    assert isinstance(last, Attempt)
    assert last.transport is not lost.transport
    assert call.attempt(OK) is OK


def test_a_link_whose_end_is_not_told_yet_is_not_tried_again(core):
    """The news of it may stand behind this very call, in this thread: nobody else can tell it meanwhile."""
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), endpoint("10.0.0.2"))))
    for n in (1, 2):
        connect(core, f"10.0.0.{n}").transport.usable = False
    call = Call(core)
    assert isinstance(call.attempt(), Attempt)
    assert isinstance(call.attempt(NOT_SENT), Attempt)
    for dialled in (call.go(NOT_SENT), call.go()):
        assert dialled.subchannel.claim()
    assert isinstance(call.go(), Wait)


def test_after_the_deadline_nothing_is_tried_again(core, clock):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    call = Call(core, timeout=1)
    assert isinstance(call.go(), Attempt)
    clock.advance(1)
    assert call.go(REFUSED) is REFUSED


def test_the_retry_goes_by_the_configuration_of_then(core):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    call = Call(core)
    call.go()
    core.on_config(config(cluster("c", endpoint("10.0.0.2"))))
    transport = connect(core, "10.0.0.2").transport
    assert call.go(REFUSED).transport is transport


# ---- the time between


RETRIED = {
    "maxAttempts": 4,
    "initialBackoff": "10s",
    "maxBackoff": "25s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
FAILED = failed(grpc.StatusCode.UNAVAILABLE, "reset")


@pytest.fixture
def retrying(core):
    service = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": RETRIED}]})
    core.configure(ChannelOptions.parse([("grpc.service_config", service)]), ())
    core.on_config(ONE_ENDPOINT)
    connect(core)
    return core


def test_each_retry_waits_for_its_back_off_and_not_longer(retrying, clock):
    call = Call(retrying)
    assert isinstance(call.go(), Attempt)
    for wait in (10, 20, 25):
        step = call.go(FAILED)
        assert 0.8 * wait <= step.until - clock() <= 1.2 * wait
        clock.advance(0.5 * wait)
        again = call.go()
        assert isinstance(again, Wait), "the channel changed, and it is not time yet"
        assert again.until == step.until
        clock.now = step.until
        assert isinstance(call.go(), Attempt)
    assert call.go(FAILED) is FAILED


def test_a_retry_that_the_deadline_would_overtake_is_not_waited_for(retrying, clock):
    call = Call(retrying, timeout=20)
    assert isinstance(call.go(), Attempt)
    clock.now = call.go(FAILED).until
    assert isinstance(call.go(), Attempt)
    assert call.go(FAILED) is FAILED  # 16 s at the soonest, and less than 12 s are left


@pytest.mark.parametrize(("passed", "whose"), [(4.9, "the server's"), (5.0, "the route's")])
def test_a_server_that_says_too_late_means_the_routes_time_out_only_when_that_is_over(core, clock, passed, whose):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("c", timeout=5)]))
    connect(core)
    call = Call(core)
    assert isinstance(call.go(), Attempt)
    clock.advance(passed)
    outcome = call.go(failed(grpc.StatusCode.DEADLINE_EXCEEDED, "late", origin=Origin.PEER))
    assert (outcome.details != "late") is (whose == "the route's")
