"""Retries by service config (gRFC A6), its time-outs and wait-for-ready, on every pairing."""

from __future__ import annotations

import json
import threading
import time

import grpc
import pytest

from tests.rpc.parity.test_sizes_parity import free_port
from tests.rpc.script import PATIENCE, READ, greet, polite, request, stay_until_over

SINGLE = ["unary", "server_stream"]


def options(name=None, throttling=None, **method):
    config = {"methodConfig": [{"name": name or [{"service": "hello.Greeter"}], **method}]}
    if throttling is not None:
        config["retryThrottling"] = throttling
    return [("grpc.service_config", json.dumps(config))]


def retrying(attempts=4, codes=("UNAVAILABLE",), backoff="0.01s", **more):
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": backoff,
        "maxBackoff": "0.05s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": list(codes),
    }
    return options(retryPolicy=policy, **more)


class Failing:
    """A script that fails so many times, and then greets."""

    def __init__(self, times, code=grpc.StatusCode.UNAVAILABLE, trailing=(), head=()):
        self.calls = []
        self._times, self._code, self._trailing, self._head = times, code, trailing, head

    def __call__(self):
        self.calls.append(dict((yield lambda context: context.invocation_metadata())))
        if len(self.calls) <= self._times:
            if self._head:
                yield lambda context: context.send_initial_metadata(self._head)
            if self._trailing:
                yield lambda context: context.set_trailing_metadata(self._trailing)
            yield lambda context: context.abort(self._code, "not yet")
        yield greet((yield READ))


@pytest.mark.parametrize("kind", SINGLE)
def test_a_call_is_tried_until_it_succeeds(world, kind):
    script = Failing(2)
    answer = world.connect(world.serve(script), retrying()).call(kind, request("Ann"))
    assert (answer.code.name, answer.messages) == ("OK", ["Hello, Ann!"])
    previous = [call.get("grpc-previous-rpc-attempts") for call in script.calls]
    assert previous == [None, "1", "2"]


@pytest.mark.parametrize("kind", SINGLE)
def test_after_so_many_attempts_the_failure_stands(world, kind):
    script = Failing(9)
    answer = world.connect(world.serve(script), retrying(attempts=3)).call(kind, request())
    assert (answer.code.name, answer.details) == ("UNAVAILABLE", "not yet")
    assert len(script.calls) == 3


def test_more_than_five_attempts_are_five(world):
    script = Failing(9)
    assert world.connect(world.serve(script), retrying(attempts=9)).call("unary", request()).code.name == "UNAVAILABLE"
    assert len(script.calls) == 5


@pytest.mark.parametrize("kind", SINGLE)
def test_another_code_is_not_retried(world, kind):
    script = Failing(9, grpc.StatusCode.NOT_FOUND)
    assert world.connect(world.serve(script), retrying()).call(kind, request()).code.name == "NOT_FOUND"
    assert len(script.calls) == 1


@pytest.mark.parametrize("kind", SINGLE)
def test_a_response_that_has_begun_is_not_retried(world, kind):
    if world.client_make == "grpcio":
        pytest.skip("grpcio retries what comes in one packet with its trailers")
    script = Failing(9, head=(("x-begun", "yes"),))
    answer = world.connect(world.serve(script), retrying()).call(kind, request())
    assert answer.code.name == "UNAVAILABLE"
    assert answer.initial == [("x-begun", "yes")]
    assert len(script.calls) == 1


def test_retries_may_be_switched_off(world):
    script = Failing(9)
    client = world.connect(world.serve(script), [*retrying(), ("grpc.enable_retries", 0)])
    assert client.call("unary", request()).code.name == "UNAVAILABLE"
    assert len(script.calls) == 1


def test_a_server_may_say_when(world):
    script = Failing(1, trailing=(("grpc-retry-pushback-ms", "300"),))
    client = world.connect(world.serve(script), retrying())
    began = time.monotonic()
    assert client.call("unary", request()).code.name == "OK"
    assert time.monotonic() - began >= 0.29
    assert len(script.calls) == 2


@pytest.mark.parametrize("said", ["-1", "soon", "9" * 5000], ids=["-1", "soon", "5000 digits"])
def test_a_server_may_say_never(world, said):
    if (world.client_make, world.server_make) == ("grpcio", "ours") and said != "-1":
        pytest.skip("grpcio's client fails such a call with INTERNAL")
    script = Failing(9, trailing=(("grpc-retry-pushback-ms", said),))
    assert world.connect(world.serve(script), retrying()).call("unary", request()).code.name == "UNAVAILABLE"
    assert len(script.calls) == 1


def test_a_retry_that_would_be_too_late_is_not_waited_for(our_world):
    script = Failing(9, trailing=(("grpc-retry-pushback-ms", "60000"),))
    client = our_world.connect(our_world.serve(script), retrying())
    began = time.monotonic()
    assert client.call("unary", request(), timeout=20).code.name == "UNAVAILABLE"
    assert time.monotonic() - began < 15


def test_failures_use_up_the_budget(world):
    script = Failing(100)
    client = world.connect(world.serve(script), retrying(attempts=5, throttling={"maxTokens": 4, "tokenRatio": 0.1}))
    client.call("unary", request())
    # 4 tokens: the first failure leaves 3, the second 2, which is no more than half.
    assert len(script.calls) == 2
    client.call("unary", request())
    assert len(script.calls) == 3


def test_futures_are_retried(world):
    if world.kind != "sync":
        pytest.skip("futures are of threads")
    script = Failing(2)
    client = world.connect(world.serve(script), retrying())
    assert client.stub.SayHello.future(request("Ann"), timeout=PATIENCE).result().message == "Hello, Ann!"
    assert len(script.calls) == 3


def test_a_call_that_waits_for_its_retry_is_cancelled(our_world):
    script = Failing(9, trailing=(("grpc-retry-pushback-ms", "20000"),))
    call = our_world.connect(our_world.serve(script), retrying()).begin("unary", request())
    deadline = time.monotonic() + PATIENCE
    while not script.calls and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    call.cancel()
    if our_world.kind == "aio":
        assert call.code() is grpc.StatusCode.CANCELLED
    else:
        with pytest.raises(grpc.FutureCancelledError):
            call.call.result(PATIENCE)
    assert time.monotonic() - began < 15


def test_a_methods_time_out_holds(our_world):
    """grpcio's calls do not heed it."""
    world, over = our_world, threading.Event()

    def stay():
        yield stay_until_over(over)

    client = world.connect(world.serve(stay), options(timeout="0.3s"))
    assert client.call("unary", request(), timeout=None).code.name == "DEADLINE_EXCEEDED"
    assert over.wait(PATIENCE)


def test_the_callers_time_out_holds_where_it_is_shorter(world):
    over = threading.Event()

    def stay():
        yield stay_until_over(over)

    client = world.connect(world.serve(stay), options(timeout="600s"))
    assert client.call("unary", request(), timeout=0.3).code.name == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
def test_a_method_may_wait_for_ready(world, kind):
    port = free_port()
    client = world.connect(f"127.0.0.1:{port}", options(waitForReady=True))
    answers = []
    caller = threading.Thread(target=lambda: answers.append(client.call(kind, request("Ann"), timeout=PATIENCE)))
    caller.start()
    time.sleep(0.3)  # it has failed by then, if it does not wait; if the machine is slow the test is only easier
    assert not answers
    world.serve(polite, address=f"127.0.0.1:{port}")
    caller.join(PATIENCE)
    assert answers[0].messages == ["Hello, Ann!"]


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ([{"service": "hello.Greeter", "method": "SayHello"}], 3),
        ([{"service": "hello.Greeter", "method": "Chat"}], 1),
        ([{"service": "another.Service"}], 1),
        ([{}], 3),
    ],
    ids=["the method", "another method", "another service", "any"],
)
def test_a_config_is_of_the_methods_that_it_names(world, name, calls):
    script = Failing(2)
    world.connect(world.serve(script), retrying(name=name)).call("unary", request())
    assert len(script.calls) == calls


@pytest.mark.parametrize(
    "config",
    [
        "no json",
        "[]",
        '{"methodConfig": [{"name": [{}], "timeout": "soon"}]}',
        '{"methodConfig": [{"name": [{"method": "A"}]}]}',
        '{"methodConfig": [{"name": [{}]}, {"name": [{}]}]}',
        '{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 1}}]}',
        '{"retryThrottling": {"maxTokens": 0, "tokenRatio": 1}}',
    ],
)
def test_a_wrong_service_config_is_said_when_the_channel_is_made(our_world, config):
    with pytest.raises(ValueError, match=r"grpc\.service_config"):
        our_world.connect("127.0.0.1:1", [("grpc.service_config", config)])
