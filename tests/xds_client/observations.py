"""Any order of observing and leaving, of every type: whoever observes is answered, however often it was left before."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from xds_client import InboundMissing, Listener, ResourceType, Selected, Target, TargetConfig, TargetMissing
from xds_client.model import VIRTUAL_INBOUND
from xds_client.resolve import Inbound, Selection


def existing_and_not(host, port, *never):
    """One interest of each type that a mesh with this gRPC service can satisfy, and what it cannot, ``never`` too."""

    def one(kind, name):
        return Selection(kind, frozenset({name}))

    cluster = f"outbound|{port}||{host}"
    there = [
        Inbound(),
        Target(host, port),
        one(ResourceType.CLUSTER, cluster),
        one(ResourceType.ENDPOINT, cluster),
        one(ResourceType.LISTENER, VIRTUAL_INBOUND),
        one(ResourceType.ROUTE, f"{host}:{port}"),
    ]
    absent = [
        Target(f"no-{host}", port),
        one(ResourceType.CLUSTER, f"outbound|{port}||no-{host}"),
        one(ResourceType.LISTENER, "no listener"),
        *never,
    ]
    return there, absent


def is_there(outcome):
    match outcome:
        case Selected():
            return not outcome.missing
        case TargetConfig() | Listener():
            return True
        case TargetMissing() | InboundMissing():
            return False


class ObservationMachine(RuleBasedStateMachine):
    """``start`` makes what observes, ``answer`` waits for what a new observer is told first."""

    there: list
    absent: list

    def __init__(self):
        super().__init__()
        self.handles = []

    def start_observing(self, interest):
        """A handle, and whatever `answer` wants."""
        raise NotImplementedError

    def answer(self, heard):
        raise NotImplementedError

    @rule(data=st.data())
    def observe(self, data):
        interest = data.draw(st.sampled_from([*self.there, *self.absent]))
        handle, heard = self.start_observing(interest)
        self.handles.append(handle)
        outcome = self.answer(heard)
        assert is_there(outcome) == (interest in self.there), outcome

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def leave(self, data):
        number = data.draw(st.integers(0, len(self.handles) - 1))
        self.handles.pop(number).close()
        self.left()

    @precondition(lambda self: self.handles)
    @rule()
    def all_leave(self):
        while self.handles:
            self.handles.pop().close()
        self.left()

    def left(self):
        """Somebody has left."""

    def teardown(self):
        for handle in self.handles:
            handle.close()
