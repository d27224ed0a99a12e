"""What names are to do later: one thread for all of them, which ends; and the child of a fork has its own."""

from __future__ import annotations

import itertools
import threading

from rpc.resolver.schedule import Schedule
from tests.rpc.programs import FORKING, ended, python
from tests.rpc.tls.ends import until

HOUR = 3600.0


def test_jobs_are_done_in_their_order_by_one_thread_which_ends():
    schedule, done, threads = Schedule(), [], set()
    over = threading.Event()

    def job(name):
        done.append(name)
        threads.add(threading.current_thread())

    schedule.after(0.06, lambda: (job("last"), over.set()))
    for place, seconds in enumerate((0.03, 0.02, 0.01)):
        schedule.after(seconds, lambda place=place: job(place))
    assert over.wait(30)
    assert done[-1] == "last"
    assert sorted(done[:-1]) == [0, 1, 2]
    [thread] = threads
    until(lambda: not thread.is_alive(), "its thread stays")


def test_a_thousand_that_wait_are_one_thread_which_ends_when_all_are_cancelled():
    before = set(threading.enumerate())
    schedule = Schedule()
    laters = [schedule.after(HOUR, lambda: None) for _ in range(1000)]
    assert len(set(threading.enumerate()) - before) == 1
    for later in laters:
        later.cancel()
    until(lambda: not set(threading.enumerate()) - before, "its thread stays")


def test_what_is_cancelled_is_not_done_and_what_raises_costs_the_others_nothing(caplog):
    schedule, done, over = Schedule(), [], threading.Event()
    cancelled = schedule.after(0.02, lambda: done.append("cancelled"))
    cancelled.cancel()
    schedule.after(0.01, lambda: done.append(1 / 0))
    schedule.after(0.05, over.set)
    assert over.wait(30)
    assert done == []
    assert "ZeroDivisionError" in caplog.text


def test_without_a_thread_it_says_so_and_begins_with_the_next(without_threads):
    schedule, over = Schedule(), threading.Event()
    without_threads()
    assert schedule.after(HOUR, over.set) is None
    without_threads()
    assert schedule.after(0.0, over.set) is not None
    assert over.wait(30)


def test_names_that_wait_are_one_thread(monkeypatch):
    from rpc.resolver import name  # noqa: PLC0415 - what is replaced

    monkeypatch.setattr(name, "look_up", lambda host, port: [(None, None, None, "", ("10.0.0.1", port))])
    changed = itertools.count()
    names = [name.Name(f"n{number}", 0, HOUR, HOUR, lambda: next(changed)) for number in range(50)]
    for one in names:
        one.refresh()
    until(lambda: all(one.asked for one in names), "they are not looked up")
    until(lambda: sum(one.name.startswith("dns") for one in threading.enumerate()) == 1, "each has its thread")
    for one in names:
        one.close()


def test_the_child_of_a_fork_has_a_schedule_of_its_own():
    assert ended(python(FORK)) == (0, ["child", "parent"], "")


FORK = (
    FORKING
    + """
    from rpc.resolver.schedule import schedule

    def child():
        over = threading.Event()
        schedule.after(0.0, over.set)
        assert over.wait(30)
        print("child", flush=True)

    over = threading.Event()
    waits = schedule.after(3600.0, over.set)
    assert status(fork(child)) == 0
    waits.cancel()
    schedule.after(0.0, over.set)
    assert over.wait(30)
    print("parent", flush=True)
"""
)
