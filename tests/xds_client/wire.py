"""A fake wire and a fake clock around the loop: what would happen on the exchanger's thread, one event at a time."""

from __future__ import annotations

import threading
from collections import deque

from tests.xds_client.mesh import request
from xds_client.loop import AdsLoop
from xds_client.observers import Observer, ObserverMap
from xds_client.reconnect import ReconnectSchedule


class FakeStream:
    """``log`` has what we did, in order: ("send", request), ("read",), ("close",); observers may add to it."""

    def __init__(self, events, log):
        self.events = events
        self.log = log

    def send(self, data):
        self.log.append(("send", request(data)))

    def read(self):
        self.log.append(("read",))

    def close(self):
        self.log.append(("close",))


class FakeTransport:
    address = "istiod.test:15010"

    def __init__(self, log):
        self.log = log
        self.streams = []

    def connect(self, method, events):
        stream = FakeStream(events, self.log)
        stream.mark = len(self.log)
        self.streams.append(stream)
        return stream


class Wire:
    """The loop with everything around it faked. Methods return what was logged meanwhile."""

    def __init__(self, node, transport=FakeTransport):
        self.now = 100.0
        self.log = []
        self.transport = transport(self.log)
        self.observers = ObserverMap()
        self.inbox = deque()
        self.loop = AdsLoop(
            node=node,
            transport=self.transport,
            observers=self.observers,
            post=self.inbox.append,
            clock=lambda: self.now,
            schedule=ReconnectSchedule(spread=lambda low, high: 1.0),
        )
        self.loop.start()

    @property
    def stream(self):
        return self.transport.streams[-1]

    def open(self):
        """The stream has a connection; all that was said on it so far."""
        self.stream.events.opened()
        self.run()
        return self.log[self.stream.mark :]

    def reopen(self):
        """Lose the stream and open the next."""
        self.lose()
        self.pass_time(self.loop.wait())
        return self.open()

    def receive(self, answer):
        self.stream.events.received(answer.SerializeToString())
        return self.run()

    def lose(self, reason="UNAVAILABLE: gone"):
        self.stream.events.closed(reason)
        return self.run()

    def pass_time(self, seconds):
        """Let time pass; what becomes due on the way happens when it is due."""
        end = self.now + seconds
        mark = len(self.log)
        while (wait := self.loop.wait()) is not None and self.now + wait <= end:
            self.now += wait
            self.loop.tick()
            self.run()
        self.now = end
        return self.log[mark:]

    def observe(self, interest, callback=None):
        """Observe; the list of what was heard, or the handle if a callback is given."""
        news = []
        observer = self._observe(interest, callback or news.append)
        self.run()
        return observer.handle if callback else news

    def observe_all(self, interests):
        """Observe, all in one turn of the loop."""
        for interest in interests:
            self._observe(interest, lambda _: None)
        self.run()

    def _observe(self, interest, callback):
        observer = Observer(interest, callback, self._unobserve)
        self.observers.add(observer)
        self.inbox.append(lambda: self.loop.added(observer))
        return observer

    def _unobserve(self, observer):
        self.observers.remove(observer)
        self.inbox.append(self.loop.removed)

    def run(self):
        mark = len(self.log)
        while self.inbox or _decoding():
            jobs = list(self.inbox)
            self.inbox.clear()
            for job in (*jobs, self.loop.settle):
                job()
        return self.log[mark:]


def _decoding():
    """Wait for what is decoded elsewhere; it comes back as a job."""
    threads = [thread for thread in threading.enumerate() if thread.name == "xds-decode"]
    for thread in threads:
        thread.join()
    return threads


def sent(log):
    return [entry[1] for entry in log if entry[0] == "send"]
