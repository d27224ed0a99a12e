"""The call plan, driven by hand: what a call does next in every state of its channel."""

from __future__ import annotations

import pytest

from rpc.attempt import Attempt
from rpc.core import ChannelCore
from rpc.errors import ChannelClosedError
from rpc.steps import Dial, Wait
from tests.rpc.configs import TARGET, cluster, config, endpoint, path, route
from tests.rpc.transports import Call, FakeClientTransport, code, connect, fail
from xds_client.model import HeaderMatch, StringMatch, StringMatchKind, TargetMissing, UnsupportedAction

PATH = "/demo.Reviews/Get"
ONE_ENDPOINT = config(cluster("c", endpoint("10.0.0.1")))


@pytest.fixture
def core(clock):
    core = ChannelCore("xds:///reviews.demo:9080", lambda: None, clock=clock)
    core.waiting_for = lambda: "control plane is connecting"
    return core


# ---- no configuration


def test_without_a_configuration_the_call_waits_for_a_change(core):
    step = Call(core).go()
    assert isinstance(step, Wait)
    assert (step.generation, step.until) == (core.generation, None)


def test_it_waits_no_longer_than_its_deadline(core, clock):
    step = Call(core, timeout=5).go()
    assert step.until == clock.now + 5


def test_the_first_configuration_lets_it_go_on(core):
    call = Call(core)
    assert isinstance(call.go(), Wait)
    core.on_config(ONE_ENDPOINT)
    transport = connect(core).transport
    step = call.go()
    assert isinstance(step, Attempt)
    assert step.transport is transport


def test_a_deadline_that_passes_without_a_configuration_says_what_was_waited_for(core):
    outcome = Call(core, timeout=0).go()
    assert code(outcome) == "DEADLINE_EXCEEDED"
    assert "control plane is connecting" in outcome.details


def test_a_target_that_is_not_there_is_unavailable_with_the_reason(core):
    core.on_config(TargetMissing(TARGET, "istiod knows no reviews.demo, asked as node sidecar~1"))
    outcome = Call(core).go()
    assert (code(outcome), outcome.details) == ("UNAVAILABLE", "istiod knows no reviews.demo, asked as node sidecar~1")


NOBODY = TargetMissing(TARGET, "istiod knows no reviews.demo")
USELESS = {
    "no such host": NOBODY,
    "no endpoints": config(cluster("c", localities=())),
    "no cluster": config(cluster("c", error="cluster 'c': the control plane removed it")),
    "a route to nowhere": config(cluster("c", endpoint("10.0.0.1")), routes=[route("other")]),
}


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS.keys())
def test_a_call_that_waits_for_ready_waits_for_a_configuration_that_is_of_use(core, clock, useless):
    core.on_config(useless)
    call = Call(core, timeout=20, wait_for_ready=True)
    for _ in range(2):  # a change that changes nothing for it
        step = call.go()
        assert isinstance(step, Wait)
        assert not step.over(core.generation, clock())
        core.changed()
    core.on_config(ONE_ENDPOINT)
    transport = connect(core).transport
    step = call.go()
    assert isinstance(step, Attempt)
    assert step.transport is transport


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS.keys())
def test_without_waiting_for_ready_it_fails_at_once(core, useless):
    core.on_config(useless)
    assert code(Call(core, timeout=20).go()) == "UNAVAILABLE"


@pytest.mark.parametrize("useless", USELESS.values(), ids=USELESS.keys())
def test_it_waits_no_longer_than_its_deadline_and_says_for_what(core, useless):
    core.on_config(useless)
    outcome = Call(core, timeout=0, wait_for_ready=True).go()
    assert code(outcome) == "DEADLINE_EXCEEDED"
    assert "waiting: xds:///reviews.demo:9080: " in outcome.details
    assert any(
        why in outcome.details for why in ("istiod knows no", "no healthy endpoint", "removed it", "not in the config")
    )


def test_a_closed_channel_is_not_waited_for(core):
    core.on_config(NOBODY)
    call = Call(core, wait_for_ready=True)
    assert isinstance(call.go(), Wait)
    core.close()
    assert code(call.go()) == "CANCELLED"


def test_a_target_that_goes_missing_while_a_call_waits_ends_it(core):
    core.on_config(ONE_ENDPOINT)
    call = Call(core)
    assert isinstance(call.go(), Dial)
    core.on_config(TargetMissing(TARGET, "gone"))
    assert (code(call.go()), core.problem) == ("UNAVAILABLE", "gone")


def test_a_call_on_a_closed_channel_is_a_mistake_of_the_program(core):
    core.on_config(ONE_ENDPOINT)
    core.close()
    with pytest.raises(ChannelClosedError):
        Call(core).go()


def test_closing_the_channel_cancels_a_call_that_waits(core):
    call = Call(core)
    assert isinstance(call.go(), Wait)
    core.close()
    assert code(call.go()) == "CANCELLED"


# ---- where to


def test_no_route_is_unavailable_and_names_the_path(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("c", match=path("exact", "/other"))]))
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert PATH in outcome.details


def test_an_action_that_is_not_supported_fails_and_is_named(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route(action=UnsupportedAction("redirect"))]))
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert "redirect" in outcome.details


def test_a_route_to_a_cluster_that_is_not_there_fails_and_names_it(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("lost")]))
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert "lost" in outcome.details


def test_a_cluster_that_cannot_be_used_fails_its_calls_with_the_reason(core):
    core.on_config(config(cluster("c", error="cluster c: EDS never came")))
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert "EDS never came" in outcome.details


def test_the_route_may_be_chosen_by_metadata(core):

    jason = HeaderMatch("x-user", StringMatch(StringMatchKind.EXACT, "jason"))
    routes = [route("v2", headers=[jason]), route("v1")]
    core.on_config(config(cluster("v1", endpoint("10.0.0.1")), cluster("v2", endpoint("10.0.0.2")), routes=routes))
    first, second = connect(core), connect(core, "10.0.0.2")
    assert Call(core).go().transport is first.transport
    assert Call(core, metadata=(("x-user", "jason"),)).go().transport is second.transport


def test_the_authority_is_the_target_as_written(core):
    core.on_config(ONE_ENDPOINT)
    connect(core)
    assert Call(core).go().authority == "reviews.demo:9080"


# ---- how long


@pytest.mark.parametrize(
    ("app", "by_route", "expected"),
    [(None, None, None), (5, None, 5), (None, 5, 5), (5, 50, 5), (50, 5, 5)],
)
def test_the_shorter_of_the_callers_and_the_routes_time_out_counts(core, clock, app, by_route, expected):
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("c", timeout=by_route)]))
    connect(core)
    deadline = Call(core, timeout=app).go().deadline
    assert deadline == (None if expected is None else clock.now + expected)


# ---- connecting


def test_an_idle_connection_is_dialled_and_waited_for(core):
    core.on_config(ONE_ENDPOINT)
    call = Call(core)
    dial = call.go()
    assert isinstance(dial, Dial)
    assert dial.subchannel.claim()
    assert isinstance(call.go(), Wait)
    dial.subchannel.opened(FakeClientTransport())
    assert isinstance(call.go(), Attempt)


def test_a_second_call_waits_for_the_same_dial(core):
    core.on_config(ONE_ENDPOINT)
    first, second = Call(core), Call(core)
    assert first.go().subchannel.claim()
    assert isinstance(second.go(), Wait)


def test_a_refused_connection_fails_the_call_at_once_and_says_where_and_why(core):
    core.on_config(ONE_ENDPOINT)
    fail(core)
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert "10.0.0.1:9080: Connection refused" in outcome.details


def test_a_call_that_waits_for_ready_waits_for_the_back_off_to_end(core, clock):
    core.on_config(ONE_ENDPOINT)
    fail(core)
    call = Call(core, wait_for_ready=True)
    step = call.go()
    assert isinstance(step, Wait)
    assert 0.5 < step.until - clock() < 1.5
    clock.let_back_off_end(core.subchannels[0])
    assert step.over(core.generation, clock())
    assert call.go() == Dial(core.subchannels[0])


def test_a_call_that_waits_for_ready_ends_with_its_deadline(core):
    core.on_config(ONE_ENDPOINT)
    fail(core)
    outcome = Call(core, wait_for_ready=True, timeout=0).go()
    assert code(outcome) == "DEADLINE_EXCEEDED"
    assert "Connection refused" in outcome.details


def test_one_refused_endpoint_does_not_fail_the_call_while_another_can_be_dialled(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), endpoint("10.0.0.2"))))
    call = Call(core)
    first = call.go()
    assert first.subchannel.claim()
    first.subchannel.failed("Connection refused")
    second = call.go()
    assert isinstance(second, Dial)
    assert second.subchannel is not first.subchannel


def test_a_ready_endpoint_is_used_while_another_is_dialled_beside_it(core):
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), endpoint("10.0.0.2"))))
    ready = connect(core)
    for _ in range(4):
        call = Call(core)
        assert call.go().subchannel.key.address == "10.0.0.2"
        assert call.go().transport is ready.transport


def test_a_configuration_that_comes_while_a_call_waits_is_followed(core):
    core.on_config(ONE_ENDPOINT)
    call = Call(core)
    assert call.go().subchannel.claim()
    assert isinstance(call.go(), Wait)
    core.on_config(config(cluster("c", endpoint("10.0.0.2"))))
    transport = connect(core, "10.0.0.2").transport
    assert call.go().transport is transport


def test_a_header_too_long_for_the_route_s_pattern_ends_the_call_and_says_so(core):
    asks = HeaderMatch("x-user", StringMatch(StringMatchKind.REGEX, "(a+)+"))
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[route("c", headers=[asks])]))
    outcome = Call(core, metadata=[("x-user", "a" * 100_000)]).go()
    assert code(outcome) == "RESOURCE_EXHAUSTED"
    assert "100000 bytes are more than the 65536 that a pattern is matched with" in outcome.details


def test_a_route_that_matches_nothing_is_warned_of_once_while_it_is_so(core, caplog):
    never = route("c", name="n", never="tls_context: is no condition")
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        core.on_config(config(cluster("c", endpoint(address)), routes=[never]))
    [record] = caplog.records
    assert "route 'n' of" in record.getMessage()
    core.on_config(ONE_ENDPOINT)
    core.on_config(config(cluster("c", endpoint("10.0.0.1")), routes=[never]))
    assert len(caplog.records) == 2


# ---- many endpoints


def test_a_call_that_finds_nothing_connected_does_not_dial_thousands_at_once(core, clock):
    core.on_config(config(cluster("c", *(endpoint(f"10.0.{i >> 8}.{i & 255}") for i in range(5000)))))
    call = Call(core)
    steps = []
    while isinstance(step := call.go(), Dial):
        assert step.subchannel.claim()
        steps.append(step)
    assert 10 <= len(steps) <= 50
    assert isinstance(step, Wait)
    assert step.until - clock() <= 0.1, "and goes on with the next soon, for these may all be dead"
    assert isinstance(call.go(), Dial)


def test_the_reasons_of_thousands_of_endpoints_are_a_short_message(core):
    core.on_config(config(cluster("c", *(endpoint(f"10.0.{i >> 8}.{i & 255}") for i in range(5000)))))
    fail(core)
    outcome = Call(core).go()
    assert code(outcome) == "UNAVAILABLE"
    assert len(outcome.details) < 1000
    assert "and 4995 more" in outcome.details
