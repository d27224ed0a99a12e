"""Requests that are delayed or aborted on purpose, by a clock that the test moves and on the wire."""

from __future__ import annotations

import time

import grpc
import pytest

from rpc.authorization import fault
from rpc.authorization.local_reply import grpc_code
from rpc.authorization.program import CannotCarryOutError, Surroundings
from rpc.authorization.request import Request
from tests.rpc.authorization.enforced import V3, http_filters
from tests.rpc.authorization.heads import FakeHead
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import hello
from tests.rpc.tls.mesh import Mesh, chain, listener
from tests.xds_client.test_decode_policies import configured

ALL = {"numerator": 100}
TEXT = "fault filter abort"


class Waiting:
    """The process's schedule, whose time has come when the test says so."""

    def __init__(self):
        self.jobs = []

    def after(self, seconds, job):
        self.jobs.append([seconds, job])
        return self

    def cancel(self):
        self.jobs.clear()


@pytest.fixture
def schedule(monkeypatch):
    made = Waiting()
    monkeypatch.setattr(fault, "schedule", made)
    return made


def step(**how):
    return fault.compiled(configured("fault.v3.HTTPFault", **how), Surroundings("fault"))


def decided(step, *headers):
    return step(Request(FakeHead(headers=headers)))


def test_istiods_own_asks_nothing():
    assert step() is None


@pytest.mark.parametrize(
    ("abort", "headers", "code"),
    [
        ({"http_status": 503}, (), grpc_code(503)),
        ({"grpc_status": 5}, (), 5),
        ({"header_abort": {}}, (), None),
        ({"header_abort": {}}, (("x-envoy-fault-abort-request", "401"),), grpc_code(401)),
        ({"header_abort": {}}, (("x-envoy-fault-abort-grpc-request", "6"),), 6),
        ({"header_abort": {}}, (("x-envoy-fault-abort-grpc-request", "17"),), None),
        ({"header_abort": {}}, (("x-envoy-fault-abort-request", "9" * 30),), None),
        (
            {"header_abort": {}},
            (("x-envoy-fault-abort-request", "401"), ("x-envoy-fault-abort-request-percentage", "0")),
            None,
        ),
    ],
    ids=str,
)
def test_who_is_aborted_gets_what_envoy_answers(abort, headers, code):
    refusal = decided(step(abort=abort | {"percentage": ALL}), *headers)
    assert refusal is None if code is None else (refusal.code, refusal.details) == (code, TEXT)


@pytest.mark.parametrize(
    ("how", "headers"),
    [
        ({"headers": [{"name": "x-user", "string_match": {"exact": "eve"}}]}, (("x-user", "ann"),)),
        ({"downstream_nodes": ["a"]}, (("x-envoy-downstream-service-node", "b"),)),
        ({"downstream_nodes": ["a"]}, ()),
    ],
    ids=str,
)
def test_it_may_be_for_some_requests_only(how, headers):
    limits = step(abort={"http_status": 503, "percentage": ALL}, **how)
    assert decided(limits, *headers) is None
    assert decided(limits, ("x-user", "eve"), ("x-envoy-downstream-service-node", "a")) is not None


def test_a_share_of_nothing_hits_nobody():
    assert decided(step(abort={"http_status": 503, "percentage": {}})) is None


def test_a_delay_ends_and_what_follows_is_decided_then(schedule):
    delay = {"fixed_delay": "3s", "percentage": ALL}
    waits = decided(step(delay=delay))
    ((seconds, job),) = schedule.jobs
    assert seconds == 3
    assert not waits.done()
    job()
    assert waits.result(0) is None
    schedule.jobs.clear()
    waits = decided(step(delay=delay, abort={"http_status": 503, "percentage": ALL}))
    schedule.jobs[0][1]()
    assert waits.result(0).details == TEXT


def test_a_header_may_say_how_long(schedule):
    delays = step(delay={"header_delay": {}, "percentage": ALL})
    assert decided(delays) is None
    assert decided(delays, ("x-envoy-fault-delay-request", "abc")) is None
    assert decided(delays, ("x-envoy-fault-delay-request", "1500")) is not None
    assert schedule.jobs[0][0] == 1.5


def test_who_leaves_is_waited_for_no_longer_and_only_so_many_wait(schedule, monkeypatch):
    monkeypatch.setattr(fault, "MOST_DELAYED", 1)
    delays = step(delay={"fixed_delay": "3s", "percentage": ALL})
    waits = decided(delays)
    assert decided(delays) is None
    waits.cancel()
    assert schedule.jobs == []
    assert decided(delays) is not None


@pytest.mark.parametrize(
    "how",
    [{"max_active_faults": 1}, {"response_rate_limit": {"fixed_limit": {"limit_kbps": 1}}}, {"upstream_cluster": "x"}],
    ids=str,
)
def test_what_nobody_carries_out_is_told_by_name(how):
    with pytest.raises(CannotCarryOutError):
        step(abort={"http_status": 503, "percentage": ALL}, **how)


@pytest.mark.parametrize("kind", ["unary", "bidi"])
def test_callers_wait_and_are_aborted(our_world, kind):
    def faults(**how):
        config = {"@type": f"{V3}.fault.v3.HTTPFault", **how}
        return listener(chain("plaintext", http_filters=http_filters(fault=config)))

    mesh = Mesh(plaintext=True)
    client = our_world.connect(our_world.serve_in(mesh, faults()))
    hello(client)
    mesh.inbound.set(faults(delay={"fixed_delay": "0.3s", "percentage": ALL}))
    begun = time.monotonic()
    assert client.call(kind, asked("Ann")).messages == ["Hello, Ann!"]
    assert time.monotonic() - begun >= 0.29
    mesh.inbound.set(faults(abort={"grpc_status": 8, "percentage": ALL}))
    answer = client.call(kind, asked("Ann"))
    assert (answer.code, answer.details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, TEXT)
