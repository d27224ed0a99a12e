"""What every source has: observers in order from two threads, waiting, a thread that survives a bug."""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from xds_client.identity.keeper import IdentityKeeper
from xds_client.identity.observer import IdentityObserver
from xds_client.identity.svid import Identity

WHEN = datetime(2030, 1, 1, tzinfo=UTC)
FIRST = Identity("spiffe://a/1", b"chain", b"key", b"roots", WHEN, WHEN, ("a",))
SECOND, THIRD = replace(FIRST, spiffe_id="spiffe://a/2"), replace(FIRST, spiffe_id="spiffe://a/3")


class Source(IdentityKeeper):
    """Steps do what the test puts in."""

    def __init__(self, clock):
        super().__init__("a source", clock)
        self.jobs = queue.Queue()

    def step(self):
        self.jobs.get(timeout=30)()
        return 0.0


@pytest.fixture
def source(time):
    source = Source(time.clock)
    yield source
    source.jobs.put(lambda: None)
    source.close()


def test_a_value_that_comes_during_a_delivery_is_delivered_after_it_by_the_same_thread():
    """The one that observes delivers the first; the source's comes meanwhile, and must neither wait nor overtake."""
    heard, inside, go_on = [], threading.Event(), threading.Event()

    def callback(identity):
        inside.set()
        assert go_on.wait(30)
        heard.append((identity, threading.current_thread()))

    observer = IdentityObserver(callback, lambda _: None)
    slow = threading.Thread(target=observer.deliver, args=(1, FIRST))
    slow.start()
    assert inside.wait(30)
    observer.deliver(2, SECOND)
    observer.deliver(3, THIRD)
    assert heard == []
    go_on.set()
    slow.join(30)
    assert heard == [(FIRST, slow), (THIRD, slow)], "the newest, not each"


def test_an_older_value_never_comes_after_a_newer_one():
    heard = []
    observer = IdentityObserver(heard.append, lambda _: None)
    observer.deliver(2, SECOND)
    observer.deliver(1, FIRST)
    assert heard == [SECOND]


def test_a_closed_observer_hears_nothing_more():
    heard = []

    def callback(identity):
        heard.append(identity)
        observer.deliver(2, SECOND)
        observer.handle.close()

    observer = IdentityObserver(callback, lambda _: None)
    observer.deliver(1, FIRST)
    assert heard == [FIRST]


def test_an_observer_may_observe_and_wait(source):
    heard = []

    def nested(identity):
        source.observe(heard.append)
        heard.append(source.wait(0))

    source.observe(nested)
    source.publish(FIRST, 2000.0)
    assert heard == [FIRST, FIRST]


def test_an_observers_bug_is_its_own(source, caplog):
    heard = []
    source.observe(lambda _: 1 / 0)
    source.observe(heard.append)
    source.publish(FIRST, 2000.0)
    source.publish(SECOND, 2000.0)
    assert heard == [FIRST, SECOND]
    assert caplog.text.count("ZeroDivisionError") == 2


def test_an_equal_identity_is_no_news_and_keeps_the_old_object(source):
    heard = []
    source.observe(heard.append)
    source.publish(FIRST, 2000.0)
    source.complain("late")
    source.publish(replace(FIRST), 3000.0)
    assert heard == [FIRST]
    assert source.current is FIRST
    assert source.error is None
    assert source.status.expires_in == 2000.0


def test_waiters_wake_when_it_comes(source):
    got = queue.Queue()
    threads = [threading.Thread(target=lambda: got.put(source.wait(30))) for _ in range(3)]
    for thread in threads:
        thread.start()
    source.start()
    source.jobs.put(lambda: source.publish(FIRST, 2000.0))
    assert [got.get(timeout=30) for _ in threads] == [FIRST] * 3


def test_a_bug_in_a_step_is_logged_and_the_next_step_comes(source, monkeypatch, caplog):
    monkeypatch.setattr("xds_client.identity.keeper._AFTER_A_BUG", 0.0)
    caplog.set_level(logging.ERROR)
    source.jobs.put(lambda: 1 / 0)
    source.jobs.put(lambda: source.publish(FIRST, 2000.0))
    source.start()
    assert source.wait(30) is FIRST
    assert "renewing the identity from a source failed; it goes on" in caplog.text


def test_the_end_of_a_certificate_is_logged_when_it_comes_and_once(source, time, caplog):
    def told():
        return [r.getMessage() for r in caplog.records if "has expired" in r.getMessage()]

    def turn(job=lambda: None):
        done = threading.Event()
        source.jobs.put(job)
        source.jobs.put(done.set)  # a step begins when the one before it has been rested from
        assert done.wait(10)

    source.start()
    turn(lambda: source.publish(FIRST, time.clock.monotonic() + 10))
    assert told() == []
    time.passed += 11
    turn()
    turn()
    [line] = told()
    assert "spiffe://a/1" in line
    assert "nothing that needs it is called or let in" in line
    turn(lambda: source.publish(SECOND, time.clock.monotonic() + 10))
    time.passed += 11
    turn()
    assert len(told()) == 2
