"""Fixtures of the tests with real sidecars; e2e/conftest.py takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.child import CHILDREN
from e2e.cluster.network import private_network
from e2e.envoy.village import Village

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Settle = Callable[[Callable[[Village], None]], Village]


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """The tests of a module, and all that they start, are in a network of their own."""
    with private_network():
        yield


@pytest.fixture(scope="module")
def village(
    request: pytest.FixtureRequest, network: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Village]:
    """On the control plane of --mesh, without pods; a module's own fixture adds them and starts it."""
    children = request.node.stash.setdefault(CHILDREN, [])
    village = Village(request.config.getoption("--mesh"), tmp_path_factory.mktemp("village"), children.append)
    yield village
    village.stop()
