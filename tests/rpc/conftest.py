from __future__ import annotations

import pytest

from tests.rpc.peers import World

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
def sync_world():
    world = World("sync")
    yield world
    world.close()


@pytest.fixture
def aio_world():
    world = World("aio")
    yield world
    world.close()
