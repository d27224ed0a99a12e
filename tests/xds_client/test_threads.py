"""No thread is to be had for a moment: what needed one goes another way or begins later, and nothing is stuck."""

from __future__ import annotations

import threading

import pytest

from xds_client import Bootstrap, PilotExchanger, ResourceType
from xds_client.identity.keeper import IdentityKeeper
from xds_client.threads import begun, begun_after


class Stream:
    def send(self, data): ...
    def read(self): ...
    def close(self): ...


class Transport:
    address = "istiod.test:15010"

    def __init__(self):
        self.opened = threading.Semaphore(0)

    def connect(self, method, events):
        self.opened.release()
        return Stream()


def test_it_is_none_and_said_once(without_threads, caplog, monkeypatch):
    monkeypatch.setattr("xds_client.threads._complaint._at", float("-inf"))
    without_threads()
    assert [begun(print, "a thread"), begun(print, "a thread"), begun_after(0.0, print, "a timer")] == [None] * 3
    assert len(caplog.messages) == 1
    assert "ulimit -u" in caplog.text
    without_threads()
    done = threading.Event()
    assert begun(done.set, "a thread") is not None
    assert done.wait(30)


def test_an_exchanger_that_could_not_begin_was_not_opened(node, without_threads):
    bootstrap, transport = Bootstrap(node, "istiod.test:15010", "plaintext"), Transport()
    without_threads()
    with pytest.raises(RuntimeError, match="new thread"):
        PilotExchanger(bootstrap, transport=transport)
    without_threads()
    with PilotExchanger(bootstrap, transport=transport):
        assert transport.opened.acquire(timeout=30)


def test_the_child_of_a_fork_begins_later(node, without_threads):
    transport = Transport()
    with PilotExchanger(Bootstrap(node, "istiod.test:15010", "plaintext"), transport=transport) as exchanger:
        assert transport.opened.acquire(timeout=30)
        exchanger.close()
        exchanger._closing = False
        exchanger.inherit()
        without_threads()
        exchanger.resume()
        with pytest.raises(RuntimeError, match="new thread"):
            exchanger.observe(ResourceType.ENDPOINT, ["e"], print)
        assert not exchanger._observers.keys(), "who was told that it failed is not called back"
        without_threads()
        exchanger.resume()
        assert transport.opened.acquire(timeout=30)


def test_an_identity_whose_keeping_could_not_begin_can_be_started_again(without_threads):
    stepped = threading.Event()

    class Source(IdentityKeeper):
        def step(self):
            stepped.set()
            return 3600.0

    source = Source("a source")
    without_threads()
    with pytest.raises(RuntimeError, match="new thread"):
        source.start()
    without_threads()
    with source:
        assert stepped.wait(30)
