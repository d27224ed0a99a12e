from __future__ import annotations

import pytest

import rpc
from tests.rpc.registry import Registry


@pytest.fixture
def registry():
    registry = Registry()
    registration = rpc.resolver.register("toy", registry.resolver)
    yield registry
    registration.close()
