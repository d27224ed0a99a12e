"""Every type can be observed, left and observed again, any number of times (beside localmesh; istiod in e2e)."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from localmesh import xds
from localmesh.compile import Snapshot
from localmesh.config import read_folder
from localmesh.serve.session import DeltaSession, Published
from tests.localmesh.yaml_folder import HOST, SERVICE, write
from tests.xds_client.mesh import inbound, response
from tests.xds_client.observations import ObservationMachine, existing_and_not
from tests.xds_client.wire import FakeStream, FakeTransport, Wire
from xds_client import Node
from xds_client.model import Listener
from xds_client.resolve import Inbound, Selection
from xds_client.resource_type import ResourceType
from xds_client.session import PATIENCE

NODE = Node(ip="10.0.0.1", pod="shop", namespace="demo")
EXTENSION = Selection(ResourceType.EXTENSION, frozenset({"no filter"}))  # answered by neither control plane


class LocalMeshStream(FakeStream):
    """The other end is localmesh's own session. What is said before there is a connection waits for it."""

    def __init__(self, events, log, published):
        super().__init__(events, log)
        nonces = map(str, count(1))
        self.session = DeltaSession(published, lambda: next(nonces), lambda rejection: pytest.fail(str(rejection)))
        self.published = published
        self.waiting = []

    def send(self, data):
        if self.waiting is not None:
            self.waiting.append(data)
            return
        self._tell(self.session.receive(xds.discovery.DeltaDiscoveryRequest.FromString(data)))

    def connect(self):
        self.events.opened()
        waiting, self.waiting = self.waiting, None
        for data in waiting:
            self.send(data)

    def push(self):
        self._tell(self.session.push(self.published))

    def _tell(self, responses):
        for answer in responses:
            self.events.received(answer.SerializeToString())


class LocalMeshTransport(FakeTransport):
    published: Published

    def connect(self, method, events):
        self.streams.append(LocalMeshStream(events, self.log, self.published))
        self.streams[-1].mark = 0
        return self.streams[-1]


@pytest.fixture
def transport(tmp_path):
    closed = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"  # else hosts that it does not know can be called
    published = Published(Snapshot(read_folder(write(tmp_path / "mesh", mesh=closed, all=SERVICE))), "v/1")
    return type("Transport", (LocalMeshTransport,), {"published": published})


class BesideLocalMesh(ObservationMachine):
    there, absent = existing_and_not(HOST, 9080, EXTENSION)
    transport: type[LocalMeshTransport]

    def __init__(self):
        super().__init__()
        self.wire = Wire(NODE, self.transport)
        self.open()

    def open(self):
        self.wire.stream.connect()
        self.wire.run()

    def start_observing(self, interest):
        heard = []
        return self.wire.observe(interest, heard.append), heard

    def answer(self, heard):
        self.wire.pass_time(PATIENCE)
        return heard[-1]

    def left(self):
        self.wire.run()

    @rule()
    def push(self):
        self.wire.stream.push()
        self.wire.run()

    @rule()
    def lose_the_stream(self):
        self.wire.lose()
        self.wire.pass_time(self.wire.loop.wait())
        self.open()


def test_observed_left_and_observed_again(transport):
    machine = type("Machine", (BesideLocalMesh,), {"transport": transport})
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=12, stateful_step_count=16, deadline=None, suppress_health_check=checks)
    )


def test_the_second_observer_of_the_inbound_listener_waits_for_the_second_answer(wire):
    wire.open()
    handle = wire.observe(Inbound(), lambda _: None)
    wire.receive(response(ResourceType.LISTENER, inbound(8080)))
    handle.close()
    wire.run()
    news = wire.observe(Inbound())
    assert news == [], "nothing is known of it any more, not even that it is missing"
    wire.receive(response(ResourceType.LISTENER, inbound(9090)))
    assert [type(heard) for heard in news] == [Listener]
