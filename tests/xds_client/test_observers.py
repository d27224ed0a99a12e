"""The observer map: added, removed and called at the same time, from inside a callback too."""

from __future__ import annotations

import logging
import threading

from xds_client.observers import Observer, ObserverMap, ReadWriteLock


def observe(observers, key, callback):
    observer = Observer(key, callback, observers.remove)
    observers.add(observer)
    return observer.handle


def test_each_key_has_its_observers():
    observers = ObserverMap()
    news = []
    first = observe(observers, "a", lambda v: news.append(("first", v)))
    observe(observers, "a", lambda v: news.append(("second", v)))
    observe(observers, "b", lambda v: news.append(("other", v)))
    observers.notify("a", 1)
    first.close()
    first.close()
    observers.notify("a", 2)
    observers.notify("nobody", 3)
    assert news == [("first", 1), ("second", 1), ("second", 2)]
    assert observers.keys() == {"a", "b"}


def test_the_last_one_to_leave_takes_the_key_with_it():
    observers = ObserverMap()
    with observe(observers, "a", print):
        assert observers.keys() == {"a"}
    assert observers.keys() == frozenset()


def test_the_same_value_is_not_delivered_twice():
    news = []
    observer = Observer("a", news.append, print)
    value = object()
    observer.deliver(value)
    observer.deliver(value)
    assert news == [value]


def test_observers_may_add_remove_and_notify_from_inside():
    observers = ObserverMap()
    news = []

    def meddle(value):
        news.append(value)
        meddler.close()
        observe(observers, "b", news.append)
        observers.notify("b", "from inside")

    meddler = observe(observers, "a", meddle)
    observers.notify("a", 1)
    observers.notify("a", 2)
    assert news == [1, "from inside"]


def test_an_observer_closed_by_another_during_the_same_news_is_not_called():
    observers = ObserverMap()
    news = []
    observe(observers, "a", lambda v: later.close())
    later = observe(observers, "a", news.append)
    observers.notify("a", 1)
    assert news == []


def test_an_observers_exception_is_logged_and_costs_nobody_anything(caplog):
    observers = ObserverMap()
    news = []
    observe(observers, "a", lambda v: 1 / 0)
    observe(observers, "a", news.append)
    observers.notify("a", 1)
    assert news == [1]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "stays registered" in record.getMessage()


def test_observers_come_and_go_on_many_threads_while_news_arrive():
    observers = ObserverMap()
    stop = threading.Event()
    counted = []

    def come_and_go(key):
        while not stop.is_set():
            with observe(observers, key, counted.append):
                observers.keys()

    threads = [threading.Thread(target=come_and_go, args=(n % 3,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for value in range(2000):
        observers.notify(value % 3, value)
    stop.set()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert observers.keys() == frozenset()


def test_readers_share_and_a_writer_is_alone():
    lock = ReadWriteLock()
    both_in = threading.Barrier(2, timeout=10)
    order = []

    def read():
        with lock.read():
            both_in.wait()  # only passes when both readers are inside at once

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(timeout=10)
    with lock.read():
        writer = threading.Thread(target=lambda: _write(lock, order))
        writer.start()
        order.append("reader leaves")
    writer.join(timeout=10)
    assert order == ["reader leaves", "writer in"]


def _write(lock, order):
    with lock.write():
        order.append("writer in")
