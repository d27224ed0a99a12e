"""Which endpoint comes next: round robin exactly by weight and well mixed, random by its share."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc.balancing.pickers import Random, RoundRobin, interleave
from tests.rpc.transports import ends_of

WEIGHTS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def picked(picker, count):
    """The addresses, which are numbers."""
    return [int(picker.pick(None).endpoint.config.address) for _ in range(count)]


@given(WEIGHTS)
def test_over_one_period_each_endpoint_comes_exactly_as_often_as_its_weight(weights):
    picker = RoundRobin(ends_of(weights))
    assert Counter(picked(picker, sum(weights))) == dict(enumerate(weights))


@given(WEIGHTS)
def test_round_robin_repeats_its_period(weights):
    picker = RoundRobin(ends_of(weights))
    period = len(interleave(weights))
    assert picked(picker, period) == picked(picker, period)


@given(WEIGHTS)
def test_at_every_moment_each_endpoint_has_had_its_share_but_for_one_turn(weights):
    order, total = interleave(weights), sum(weights)
    had = Counter()
    for turn, index in enumerate(order, 1):
        had[index] += 1
        for i, weight in enumerate(weights):
            # Smooth weighted round robin strays by less than the number of endpoints; a block order strays by weights.
            assert abs(had[i] - turn * weight / total) < len(weights)


def test_equal_endpoints_take_turns():
    assert sorted(interleave([7, 7, 7])) == [0, 1, 2]


def test_a_heavy_endpoint_is_spread_and_not_sent_in_a_row():
    assert interleave([5, 1, 1]) == [0, 0, 1, 0, 2, 0, 0]


def test_huge_weights_keep_their_proportion_in_a_bounded_schedule():
    order = interleave([2_000_000_011, 1_000_000_007, 1])
    counts = Counter(order)
    assert len(order) < 5000
    assert counts[0] / counts[1] == pytest.approx(2, rel=0.01)
    assert counts[2] >= 1


def test_random_picks_by_share():
    counts = Counter(picked(Random(ends_of([80, 15, 5])), 20_000))
    for number, share in enumerate([0.80, 0.15, 0.05]):
        assert abs(counts[number] / 20_000 - share) < 0.03


def test_clients_do_not_march_in_step():
    starts = {picked(RoundRobin(ends_of([1] * 100)), 1)[0] for _ in range(50)}
    assert len(starts) > 10


def test_many_threads_together_keep_the_proportion():
    picker, counts = RoundRobin(ends_of([3, 1])), Counter()
    lock = threading.Lock()

    def pick():
        mine = Counter(picked(picker, 4000))
        with lock:
            counts.update(mine)

    threads = [threading.Thread(target=pick) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {0: 24_000, 1: 8_000}


@pytest.mark.timeout(60)  # in quadratic time: minutes
@pytest.mark.parametrize("weights", [[1] * 50_000, [1 + i % 97 for i in range(50_000)]], ids=["equal", "weighted"])
def test_the_schedule_of_many_endpoints_is_made_in_about_linear_time_and_bounded(weights):
    order = interleave(weights)
    assert len(order) <= 5 * len(weights)
    assert set(order) == set(range(len(weights)))


def test_weights_of_many_endpoints_still_count():
    counts = Counter(interleave([100 if i % 2 else 10 for i in range(10_000)]))
    assert counts[1] / counts[0] > 5
