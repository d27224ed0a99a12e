"""How long from one attempt to the next, to the number, for each of those who try again."""

from __future__ import annotations

import pytest

from rpc.options import ChannelOptions
from xds_client.backoff import USUAL, Backoff

GROWING = {
    "connections": (USUAL, [1, 1.6, 2.56, 4.096], 120),
    "istiod": (Backoff(0.5, 5.0), [0.5, 0.8, 1.28, 2.048], 5),
    "certificates": (Backoff(0.1, 30.0, 2.0, 0.1), [0.1, 0.2, 0.4, 0.8], 30),
    "a call's retries": (Backoff(0.01, 0.05, 3.0), [0.01, 0.03, 0.05, 0.05], 0.05),
}


def middle(low, high):
    return (low + high) / 2


@pytest.mark.parametrize(("backoff", "first", "most"), GROWING.values(), ids=GROWING.keys())
def test_it_grows_by_its_multiplier_up_to_the_bound_and_never_beyond(backoff, first, most):
    assert [backoff.after(failures, middle) for failures in range(4)] == pytest.approx(first)
    assert backoff.after(100, middle) == pytest.approx(most)
    assert backoff.after(10**6, middle) == pytest.approx(most), "after a week of failures"


@pytest.mark.parametrize("jitter", [0.0, 0.1, 0.2])
def test_it_is_spread_by_a_share_both_ways_the_bound_too(jitter):
    backoff = Backoff(1.0, 2.0, 1.6, jitter)
    for failures, wait in ((0, 1.0), (1, 1.6), (2, 2.0), (3, 2.0)):
        assert backoff.after(failures, lambda low, _high: low) == pytest.approx(wait * (1 - jitter))
        assert backoff.after(failures, lambda _low, high: high) == pytest.approx(wait * (1 + jitter))
    seen = {backoff.after(5) for _ in range(100)}
    assert all(2.0 * (1 - jitter) <= wait <= 2.0 * (1 + jitter) for wait in seen)
    assert (len(seen) > 1) is (jitter > 0)


@pytest.mark.parametrize("milliseconds", [0, 1, 100, 333, 1_000_000])
def test_one_that_neither_grows_nor_spreads_is_exact(milliseconds):
    fixed = ChannelOptions.parse([("grpc.testing.fixed_reconnect_backoff_ms", milliseconds)]).backoff
    assert {fixed.after(failures) for failures in (-1, 0, 1, 7, 10**6)} == {milliseconds / 1000}
