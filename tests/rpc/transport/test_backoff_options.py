"""How soon, and how often, a channel dials again, as its arguments say."""

from __future__ import annotations

import threading

import grpc
import pytest

from rpc.options import ChannelOptions
from tests.rpc.script import PATIENCE, request


def waits(options, failures):
    """Seconds after each of so many dials in a row that failed."""
    backoff = ChannelOptions.parse(options).backoff
    return [backoff.after(failed) for failed in range(failures)]


def within(wait, seconds):
    return 0.79 * seconds < wait < 1.21 * seconds


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], [1, 1.6, 2.56]),
        ([("grpc.initial_reconnect_backoff_ms", 20_000)], [20, 32, 51.2, 81.92, 120, 120]),
        ([("grpc.max_reconnect_backoff_ms", 1_000)], [1, 1, 1]),
        ([("grpc.initial_reconnect_backoff_ms", 50_000), ("grpc.max_reconnect_backoff_ms", 60_000)], [50, 60, 60]),
        ([("grpc.initial_reconnect_backoff_ms", 50_000), ("grpc.max_reconnect_backoff_ms", 10_000)], [10, 10]),
        ([("grpc.testing.fixed_reconnect_backoff_ms", 30_000)], [30, 30, 30]),
        ([("grpc.initial_reconnect_backoff_ms", 1)], [0.1, 0.16]),
    ],
    ids=str,
)
def test_how_long_a_connection_that_failed_waits(options, expected):
    assert all(within(*pair) for pair in zip(waits(options, len(expected)), expected, strict=True))


def test_a_fixed_back_off_is_exact():
    assert waits([("grpc.testing.fixed_reconnect_backoff_ms", 1_000_000)], 2) == [1000, 1000]


@pytest.mark.parametrize("name", ["grpc.initial_reconnect_backoff_ms", "grpc.testing.fixed_reconnect_backoff_ms"])
def test_a_server_that_ends_each_connection_is_dialled_as_often_as_the_channel_says(our_world, start, name):
    enough = 8  # by the usual back-off the eighth dial is a minute away
    dialled, met = [], threading.Event()

    def hang_up(connection, _number):
        connection.close()
        dialled.append(1)
        if len(dialled) == enough:
            met.set()

    address = start(hang_up).address
    client = our_world.connect(address, [(name, 100), ("grpc.max_reconnect_backoff_ms", 100)])
    client.begin("unary", request(), wait_for_ready=True)
    assert met.wait(PATIENCE)


def test_the_least_back_off_is_what_a_dial_may_take(our_world, start):
    over = threading.Event()

    def say_nothing(_connection, _number):
        over.wait(PATIENCE)

    client = our_world.connect(start(say_nothing).address, [("grpc.min_reconnect_backoff_ms", 300)])
    answer = client.call("unary", request(), timeout=15)  # without the argument the dial takes twenty
    over.set()
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "said nothing" in answer.details or "timed out" in answer.details
