"""What names are to do later: one thread for all of them, which ends; and the child of a fork has its own."""

from __future__ import annotations

import itertools
import threading

import pytest

from rpc.resolver.name import Name
from rpc.schedule import Schedule
from tests.rpc.programs import FORKING, ended, python
from tests.rpc.tls.ends import until

HOUR = 3600.0


def looked_at(schedule):
    """What is due by its clock was done, or begun."""
    met = threading.Event()
    assert schedule.after(0.0, met.set) is not None
    assert met.wait(30)


def test_jobs_are_done_in_their_order_by_one_thread_which_ends(clock):
    schedule, done, threads = Schedule(clock), [], set()
    over = threading.Event()

    def job(name):
        done.append(name)
        threads.add(threading.current_thread())

    schedule.after(6 * HOUR, lambda: (job("last"), over.set()))
    for place, hours in enumerate((3, 2, 1)):
        schedule.after(hours * HOUR, lambda place=place: job(place))
    for due in ([2], [2, 1], [2, 1, 0], [2, 1, 0]):
        clock.advance(HOUR)
        looked_at(schedule)
        assert done == due
    clock.advance(2 * HOUR)
    schedule.look()
    assert over.wait(30)
    assert done == [2, 1, 0, "last"]
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


def test_what_is_cancelled_is_not_done_and_what_raises_costs_the_others_nothing(clock, caplog):
    schedule, done, over = Schedule(clock), [], threading.Event()
    cancelled = schedule.after(2, lambda: done.append("cancelled"))
    cancelled.cancel()
    schedule.after(1, lambda: done.append(1 / 0))
    schedule.after(5, over.set)
    clock.advance(5)
    schedule.look()
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
    until(lambda: sum(one.name == "timers" for one in threading.enumerate()) == 1, "each has its thread")
    for one in names:
        one.close()


class Answers:
    """What a name is looked up to, and how often it was."""

    def __init__(self):
        self.addresses = ["10.0.0.1"]
        self.asked = threading.Semaphore(0)
        self.times = 0

    def __call__(self, _host, port):
        self.times += 1
        self.asked.release()
        if not self.addresses:
            raise OSError("nobody is called so")
        return [(None, None, None, "", (address, port)) for address in self.addresses]


@pytest.fixture
def answers(monkeypatch):
    answers = Answers()
    monkeypatch.setattr("rpc.resolver.name.look_up", answers)
    return answers


@pytest.fixture
def make_name(answers, clock):
    """Make a name with a schedule of its own, looked up once; how many times in all is what `passed` returns."""
    schedule, names = Schedule(clock), []

    def make(pause, refresh_after=None):
        names.append(Name("pods.test", 0, pause, refresh_after, lambda: None, schedule))
        names[0].refresh()
        answered(1)
        return names[0], passed, answered

    def answered(times):
        assert answers.asked.acquire(timeout=30)
        until(lambda: not names[0]._busy, "the look-up does not end")
        assert answers.times == times

    def passed(seconds):
        clock.advance(seconds)
        looked_at(schedule)

    yield make
    for name in names:
        name.close()


def test_a_name_is_looked_up_again_when_asked_to_and_the_pause_is_over(make_name, answers):
    name, passed, answered = make_name(pause=30)
    name.refresh()
    name.refresh()
    for _ in range(3):
        passed(9)
        assert answers.times == 1
    passed(3)
    answered(2)
    passed(HOUR)
    assert answers.times == 2, "nobody asked"
    name.refresh()
    answered(3)


def test_a_name_that_is_not_found_is_looked_up_again_by_itself_after_a_back_off_that_grows(make_name, answers):
    answers.addresses = []
    name, passed, answered = make_name(pause=HOUR)
    for failures, wait in enumerate((1.0, 1.6, 2.56, 4.096), 1):
        assert name.error is not None
        passed(0.79 * wait)
        assert answers.times == failures
        if failures == 4:
            answers.addresses = ["10.0.0.7"]
        passed(0.42 * wait)
        answered(failures + 1)
    assert (name.addresses, name.error) == (("10.0.0.7",), None)
    passed(2 * HOUR)
    assert answers.times == 5, "it is found now"


def test_a_name_that_is_to_be_looked_up_by_time_is_though_nobody_asks(make_name, answers):
    _, passed, answered = make_name(pause=1, refresh_after=60)
    for times in (2, 3, 4):
        passed(59)
        assert answers.times == times - 1
        passed(1)
        answered(times)


def test_the_child_of_a_fork_has_a_schedule_of_its_own():
    assert ended(python(FORK)) == (0, ["child", "parent"], "")


FORK = (
    FORKING
    + """
    from rpc.schedule import schedule

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
