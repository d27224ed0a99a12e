from __future__ import annotations

import pytest

from tests.rpc.tls.certificates import REVIEWS, SHOP, Authority
from tests.rpc.tls.ends import MeshWorld


@pytest.fixture(scope="session")
def mesh_root():
    """Who signs for everybody that is not meant to be wrong."""
    return Authority("the mesh")


@pytest.fixture(scope="session")
def shop(mesh_root):
    return mesh_root.identity(SHOP)


@pytest.fixture(scope="session")
def reviews(mesh_root):
    return mesh_root.identity(REVIEWS)


@pytest.fixture(params=["sync", "aio"])
def our_world(request):
    """Our client and our server, in a mesh."""
    world = MeshWorld(request.param)
    yield world
    world.close()


@pytest.fixture
def sync_world():
    world = MeshWorld("sync")
    yield world
    world.close()
