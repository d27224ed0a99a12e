"""Channels get the newest configuration, on a thread that is not the control plane's."""

from __future__ import annotations

import queue
import threading

import pytest

from rpc.resolver import newest
from rpc.resolver.newest import Newest
from tests.rpc.configs import cluster, config, endpoint

PATIENCE = 30


@pytest.fixture
def busy():
    """The thread is at work until the event is set."""
    begun, free = threading.Event(), threading.Event()
    occupant = Newest(lambda _: (begun.set(), free.wait(PATIENCE)))
    occupant.put(endpoints(1))
    assert begun.wait(PATIENCE)
    yield free
    free.set()


def endpoints(count):
    return config(cluster("c", *(endpoint(f"10.0.{i >> 8}.{i & 255}") for i in range(count))))


def test_the_exchangers_thread_builds_nothing():
    told = queue.Queue()
    Newest(lambda _: told.put(threading.current_thread())).put(endpoints(1))
    assert told.get(timeout=PATIENCE) is not threading.current_thread()


def test_of_many_configurations_only_the_newest_is_built(busy):
    told = queue.Queue()
    channels = Newest(told.put)
    pushed = [endpoints(count) for count in range(1, 1000)]
    for each in pushed:
        channels.put(each)
    busy.set()
    assert told.get(timeout=PATIENCE) is pushed[-1]
    last = endpoints(1)
    channels.put(last)
    assert told.get(timeout=PATIENCE) is last, "and nothing between"


def test_few_endpoints_do_not_wait_behind_many(busy):
    told = queue.Queue()
    for name, count in (("large", 2000), ("first", 1), ("second", 2)):
        Newest(lambda _, name=name: told.put(name)).put(endpoints(count))
    busy.set()
    assert [told.get(timeout=PATIENCE) for _ in range(3)] == ["first", "second", "large"]


def test_one_that_fails_costs_the_others_nothing(busy, caplog):
    told = queue.Queue()
    failing = Newest(lambda _: 1 / 0)
    failing.put(endpoints(1))
    Newest(told.put).put(endpoints(1))
    busy.set()
    assert told.get(timeout=PATIENCE)
    assert "the last good one stays" in caplog.text


def test_nothing_comes_after_the_close(busy):
    told = queue.Queue()
    closed, other = Newest(told.put), Newest(told.put)
    closed.put(endpoints(3))
    other.put(expected := endpoints(4))
    closed.close()
    busy.set()
    assert told.get(timeout=PATIENCE) is expected
    assert told.empty()


def test_many_small_ones_do_not_starve_a_large_one(busy):
    told = queue.Queue()
    Newest(lambda _: told.put("large")).put(endpoints(2000))
    for _ in range(100):
        Newest(lambda _: told.put("small")).put(endpoints(1))
    busy.set()
    order = [told.get(timeout=PATIENCE) for _ in range(101)]
    assert 1 <= order.index("large") <= 20


def test_without_a_thread_it_is_built_here_and_the_thread_is_begun_later(monkeypatch):
    told = queue.Queue()
    builder = newest._Builder()
    monkeypatch.setattr(newest, "_builder", builder)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        Newest(lambda _: told.put(threading.current_thread())).put(endpoints(1))
    assert told.get_nowait() is threading.current_thread()
    Newest(lambda _: told.put(threading.current_thread())).put(endpoints(1))
    assert told.get(timeout=PATIENCE) is not threading.current_thread()


def no_thread(_):
    raise RuntimeError("can't start new thread")
