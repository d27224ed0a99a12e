"""The schedule of reconnecting, without a clock."""

from __future__ import annotations

import pytest

from xds_client.reconnect import FIRST, LONGEST, ReconnectSchedule


def test_delays_grow_to_the_cap_and_start_again_after_a_message():
    schedule = ReconnectSchedule(spread=lambda low, high: 1.0)
    delays = [schedule.failed() for _ in range(9)]
    assert delays[:3] == pytest.approx([0.5, 0.8, 1.28])
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST
    schedule.reset()
    assert schedule.failed() == FIRST


def test_every_delay_is_spread_by_a_fifth_both_ways():
    assert ReconnectSchedule(spread=lambda low, high: low).failed() == pytest.approx(0.4)
    assert ReconnectSchedule(spread=lambda low, high: high).failed() == pytest.approx(0.6)
    schedule = ReconnectSchedule()
    assert all(LONGEST * 0.8 <= d <= LONGEST * 1.2 for d in [schedule.failed() for _ in range(200)][10:])
