"""A cluster's endpoints: who is not ready has no share, the others have theirs by weight, and who is dialled beside."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.balancing import PICKERS, BalancedCluster, Level, Pick, PolicyError
from rpc.balancing.pickers import PickFirst, Random, RoundRobin, interleave
from tests.rpc.transports import FakeClientTransport, end_of, ends_of
from xds_client.model import LbPolicy


def lose(end):
    end.subchannel.transport.usable = False
    end.subchannel.lost()


def connect(end):
    assert end.subchannel.claim()
    end.subchannel.opened(FakeClientTransport())


def picked(level, count, generation=0):
    return [int(level.pick(None, generation).endpoint.config.address) for _ in range(count)]


ANY_DOWN = st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=8).filter(
    lambda ends: any(up for _, up in ends)
)


@given(ANY_DOWN, st.randoms(use_true_random=False))
def test_with_any_endpoints_down_the_others_have_their_shares_by_weight(ends, random):
    endpoints = ends_of([weight for weight, _ in ends], ready=True)
    level = Level(endpoints, RoundRobin)
    picked(level, random.randrange(10))
    up = {number: weight for number, (weight, up) in enumerate(ends) if up}
    for number, end in enumerate(endpoints):
        if number not in up:
            lose(end)
    period = len(interleave(list(up.values())))
    counts = Counter(picked(level, 3 * period, generation=1))
    assert {number: counts[number] * sum(up.values()) for number in up} == {
        number: 3 * period * weight for number, weight in up.items()
    }


def test_of_three_equal_endpoints_with_one_down_the_others_share_alike():
    ends = ends_of([1, 1, 1], ready=True)
    level = Level(ends, RoundRobin)
    lose(ends[1])
    assert Counter(picked(level, 100)) == {0: 50, 2: 50}


@pytest.mark.parametrize("policy", [RoundRobin, Random])
def test_who_comes_back_has_its_share_again(policy):
    ends = ends_of([1, 1], ready=True)
    level = Level(ends, policy)
    lose(ends[0])
    assert set(picked(level, 50, 1)) == {1}
    connect(ends[0])
    assert set(picked(level, 100, 2)) == {0, 1}


def test_while_readiness_does_not_change_the_picker_stays():
    ends = ends_of([1, 1, 1], ready=True)
    made = []
    level = Level(ends, lambda ready: made.append(ready) or RoundRobin(ready))
    for generation in range(20):
        level.pick(None, generation)
    assert len(made) == 1


def test_the_picker_of_many_is_not_made_anew_for_each_that_connects():
    ends = ends_of([1] * 1000)
    made = []
    level = Level(ends, lambda ready: made.append(ready) or RoundRobin(ready))
    for generation, end in enumerate(ends):
        connect(end)
        assert level.pick(None, generation) is not None
    assert len(made) < 500


def test_the_picker_of_many_is_let_be_for_twenty_times_as_long_as_it_took_to_make(clock):
    ends = ends_of([1] * 1000)
    made = []

    def make(ready):
        clock.advance(1)
        made.append(len(ready))
        return RoundRobin(ready)

    level = Level(ends, make, clock=clock)
    connect(ends[0])
    level.pick(None, 1)
    connect(ends[1])
    for generation in range(2, 9):
        clock.advance(2.5)  # 17.5 s in all
        level.pick(None, generation)
    assert made == [1]
    clock.advance(2.5)
    level.pick(None, 10)
    assert made == [1, 2]


def test_a_picker_of_many_never_offers_one_that_was_lost():
    ends = ends_of([1] * 1000, ready=True)
    level = Level(ends, RoundRobin)
    level.pick(None, 0)
    for end in ends[:500]:
        lose(end)
    assert all(number >= 500 for number in picked(level, 1000, 1))


def test_beside_the_calls_whoever_is_not_ready_is_dialled_in_turn():
    ends = ends_of([1] * 40)
    for end in ends[:5]:
        connect(end)
    cluster = BalancedCluster("c", [Level(ends, RoundRobin)])
    dialled = []
    for _ in range(50):
        pick, idle = cluster.pick(None, 0)
        assert pick is not None
        if idle is not None:
            assert idle.claim()
            dialled.append(idle)
    assert len(set(dialled)) == len(dialled) == 35


def test_a_better_level_is_dialled_while_a_lower_one_serves():
    best, other = end_of("10.0.0.1"), end_of("10.0.0.2", ready=True)
    cluster = BalancedCluster("c", [Level([best], RoundRobin), Level([other], RoundRobin)])
    pick, idle = cluster.pick(None, 0)
    assert (pick.endpoint, idle) == (other, best.subchannel)
    connect(best)
    assert cluster.pick(None, 1) == ((best, None), None)


def test_pick_first_stays_with_the_one_that_is_connected():
    ends = ends_of([1, 1, 1])
    connect(ends[1])
    level = Level(ends, PickFirst, one_by_one=True)
    assert picked(level, 3) == [1, 1, 1]
    assert level.to_dial() is None


def test_pick_first_tries_one_after_the_other():
    ends = ends_of([1, 1, 1])
    level = Level(ends, PickFirst, one_by_one=True)
    for end in ends:
        assert level.pick(None, 0) is None
        assert level.to_dial() is end.subchannel
        assert end.subchannel.claim()
        assert level.to_dial() is None
        end.subchannel.failed("refused")
    assert level.to_dial() is None


def test_every_policy_has_a_picker():
    assert PICKERS.keys() == set(LbPolicy)


# ---- anybody's policies


class Sticky:
    """Stays with the first that it was ever given, ready or not."""

    first = None

    def __init__(self, endpoints):
        Sticky.first = Sticky.first or endpoints[0]

    def pick(self, head):
        del head
        return Pick(Sticky.first)


def test_a_picker_that_names_what_is_not_ready_is_asked_once_and_picks_nothing(monkeypatch):
    monkeypatch.setattr(Sticky, "first", None)
    endpoints = ends_of([1, 1], ready=True)
    level = Level(endpoints, Sticky)
    assert level.pick(None, 0).endpoint is endpoints[0]
    lose(endpoints[0])
    assert level.pick(None, 1) is None


class Raises:
    def __init__(self, endpoints):
        del endpoints

    def pick(self, head):
        raise ZeroDivisionError(head)


@pytest.mark.parametrize("policy", [Raises, lambda _: 1 / 0], ids=["in its pick", "when it is made"])
def test_what_a_policy_raises_is_told_as_its_own(policy, caplog):
    level = Level(ends_of([1], ready=True), policy)
    for _ in range(3):
        with pytest.raises(PolicyError, match="its balancing policy failed: ZeroDivisionError"):
            level.pick(None, 0)
    assert len(caplog.records) == 1, "once, not for each call"
