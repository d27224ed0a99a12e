"""Fixtures of the meshes that policies are carried out in."""

from __future__ import annotations

import pytest

from tests.rpc.authorization.authorizers import Authorizer, allow
from tests.rpc.tls.conftest import mesh_root, our_world, reviews, shop, sync_world

__all__ = ["mesh_root", "our_world", "reviews", "shop", "sync_world"]


@pytest.fixture
def authorizer(request):
    """Lets everybody in until the test says otherwise; of the make that is asked for."""
    made = Authorizer(lambda _: allow(), getattr(request, "param", "ours"))
    yield made
    made.close()
