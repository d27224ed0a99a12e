from __future__ import annotations

import pytest

from tests.rpc.frames import RawClient, RawServer
from tests.rpc.mesh import Mesh
from tests.rpc.peers import World
from tests.rpc.programs import ELSEWHERE, python
from tests.rpc.script import polite
from tests.rpc.script import request as asked
from tests.rpc.transports import HandClock

MAKES = [("grpcio", "grpcio"), ("ours", "grpcio"), ("grpcio", "ours"), ("ours", "ours")]
MATRIX = [(kind, *makes) for kind in ("sync", "aio") for makes in MAKES]


@pytest.fixture(params=MATRIX, ids=["-".join(entry) for entry in MATRIX])
def world(request):
    """Every pairing of client and server (named in this order), in both worlds; grpcio-grpcio is the control."""
    world = World(*request.param)
    yield world
    world.close()


@pytest.fixture(params=["sync", "aio"])
def our_world(request):
    """Our client and our server."""
    world = World(request.param)
    yield world
    world.close()


@pytest.fixture
def clock():
    """For what is driven by hand: it stands still until the test moves it."""
    return HandClock()


@pytest.fixture
def sync_world():
    world = World("sync")
    yield world
    world.close()


@pytest.fixture
def aio_world():
    world = World("aio")
    yield world
    world.close()


# ---- raw peers


@pytest.fixture
def server(our_world):
    """The address of our server; whatever the test did to it, it serves others in the end."""
    address = our_world.serve(polite)
    good = our_world.connect(address)
    assert good.call("unary", asked("before")).messages == ["Hello, before!"]
    yield address
    assert good.call("unary", asked("after")).messages == ["Hello, after!"]
    late = our_world.connect(address)
    assert late.call("bidi", asked("late")).messages == ["Hello, late!"]


@pytest.fixture
def dial():
    """Make raw clients that end with the test."""
    made = []

    def connect(address, **how):
        made.append(RawClient(address, **how))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture
def raw(server, dial):
    return dial(server)


@pytest.fixture
def start():
    """Start raw servers that end with the test."""
    servers = []

    def serve(script):
        servers.append(RawServer(script))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


@pytest.fixture
def ask(our_world, start):
    """Start a server whose connections follow the script, and call it once."""

    def call(script, kind="unary", **how):
        return our_world.connect(start(script).address).call(kind, asked("Ann"), **how)

    return call


# ---- processes


@pytest.fixture
def elsewhere():
    """The address of a server whose handlers stay for ever, and a function that waits for the next call there."""
    with python(ELSEWHERE) as process:
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        yield address, process.stdout.readline
        process.kill()


@pytest.fixture
def mesh(tmp_path):
    mesh = Mesh(tmp_path)
    mesh.plane.start()
    yield mesh
    mesh.close()
