"""Plans and pools driven by hand: calls stepped through, transports that have no socket."""

from __future__ import annotations

import grpc

from rpc._native import Tally
from rpc.balancing import Endpoint
from rpc.method import MethodSpec
from rpc.plan import plan_call
from rpc.steps import Dial
from rpc.transport import Subchannel, SubchannelKey
from tests.rpc.configs import endpoint
from xds_client.model import Locality


class HandClock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds

    def let_back_off_end(self, subchannel):
        self.now += subchannel.held_back + 0.001  # rounded: never a little too soon


class FakeClientTransport:
    """What the engine gives for a connection, as far as deciding needs it."""

    def __init__(self, *, usable=True, streams=100, carried=False):
        self.usable = usable
        self.carried = carried
        self.streams = streams  # that are free
        self.ended = None
        self.said = []

    def tally(self):
        return Tally()

    def room(self, tell=False):
        if tell:
            self.said.append("tell of room")
        return self.streams if self.usable else 0

    def spare(self, seconds):
        self.said.append("stays" if seconds is None else "spare")

    def drain(self):
        self.said.append("drain")

    def close(self, details):
        self.said.append("close")


class Call:
    """A plan that the test drives."""

    def __init__(self, core, *, timeout=None, wait_for_ready=False, metadata=None, path="/demo.Reviews/Get"):
        deadline = None if timeout is None else core.clock() + timeout
        method = MethodSpec(path, None, None, "")
        self._plan = plan_call(core, method, b"", metadata, deadline, wait_for_ready)

    def attempt(self, answer=None):
        """The next step that is no dialling beside the call."""
        while isinstance(step := self.go(answer), Dial):
            answer = None
        return step

    def go(self, answer=None):
        """The next step, or the outcome."""
        try:
            return self._plan.send(answer)
        except StopIteration as end:
            return end.value

    def close(self):
        self._plan.close()


def connect(core, address="10.0.0.1"):
    for subchannel in core._pool.subchannels:
        if subchannel.key.address == address:
            assert subchannel.claim()
            subchannel.opened(FakeClientTransport())
            return subchannel
    raise AssertionError(address)


def fail(core, reason="Connection refused"):
    for subchannel in core._pool.subchannels:
        assert subchannel.claim()
        subchannel.failed(reason)


def code(outcome):
    return grpc.StatusCode[next(c.name for c in grpc.StatusCode if c.value[0] == outcome.code)].name


def end_of(address="10.0.0.1", weight=1, *, ready=False):
    """An endpoint whose connection is its own."""
    subchannel = Subchannel(SubchannelKey(address, 9080), 1.0, lambda: None)
    if ready:
        assert subchannel.claim()
        subchannel.opened(FakeClientTransport())
    return Endpoint(endpoint(address, weight=weight), Locality(), 0, subchannel)


def ends_of(weights, *, ready=False):
    """Endpoints whose addresses are numbers."""
    return [end_of(str(number), weight, ready=ready) for number, weight in enumerate(weights)]
