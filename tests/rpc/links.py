"""Plans and pools driven by hand: calls stepped through, links that have no socket."""

from __future__ import annotations

import time

import grpc

from rpc._native import Tally
from rpc.plan import plan_call


class FakeLink:
    """What the engine gives for a connection, as far as deciding needs it."""

    def __init__(self, *, usable=True, streams=100, carried=False):
        self.usable = usable
        self.carried = carried
        self.streams = streams  # that are free
        self.ended = None
        self.said = []

    def tally(self):
        return Tally()

    def room(self, *, tell=False):
        if tell:
            self.said.append("tell of room")
        return self.streams if self.usable else 0

    def spare(self, seconds):
        self.said.append("stays" if seconds is None else "spare")

    def drain(self):
        self.said.append("drain")

    def close(self, *_why):
        self.said.append("close")


class Call:
    """A plan that the test drives."""

    def __init__(self, core, *, timeout=None, wait_for_ready=False, metadata=None, path="/demo.Reviews/Get"):
        deadline = None if timeout is None else time.monotonic() + timeout
        self._plan = plan_call(core, path, metadata, deadline, wait_for_ready=wait_for_ready)

    def go(self, answer=None):
        """The next step, or the outcome."""
        try:
            return self._plan.send(answer)
        except StopIteration as end:
            return end.value


def connect(core, address="10.0.0.1"):
    for connection in core._pool.connections:
        if connection.key.address == address:
            assert connection.claim()
            connection.opened(FakeLink())
            return connection
    raise AssertionError(address)


def fail(core, reason="Connection refused"):
    for connection in core._pool.connections:
        assert connection.claim()
        connection.failed(reason)


def code(outcome):
    return grpc.StatusCode[next(c.name for c in grpc.StatusCode if c.value[0] == outcome.code)].name
