"""Fixtures of the tests with real sidecars; e2e/conftest.py takes them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.child import CHILDREN
from e2e.cluster.network import private_network
from e2e.envoy.village import Village

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    """The tests of a module, and all that they start, are in a network of their own."""
    with private_network():
        yield


@pytest.fixture(scope="module")
def village(
    request: pytest.FixtureRequest, network: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Village]:
    """On the control plane of --mesh, without pods; a module's own fixture adds them and starts it.

    A module whose tests are edits of policies says ``PROMPT = True``.
    """
    children = request.node.stash.setdefault(CHILDREN, [])
    prompt = getattr(request.module, "PROMPT", False)
    village = Village(
        request.config.getoption("--mesh"), tmp_path_factory.mktemp("village"), children.append, prompt=prompt
    )
    yield village
    village.stop()


@pytest.fixture(scope="module")
def town(village: Village) -> Village:
    """The village with its usual people.

    ``shop`` is a grpcio server behind Envoy; ``web`` will be one of ours without (fixture ``server``); ``bff`` is a
    grpcio client behind Envoy; ``walker`` has clients of ours and plain ones, without, and ``xds`` grpcio's own xDS.
    """
    for name in ("shop", "bff"):
        village.add(name, sidecar=True)
    for name in ("web", "walker", "xds"):
        village.add(name)
    village.start()
    village.pods["shop"].serve("grpcio")
    for name in ("bff", "walker", "xds"):
        village.pods[name].be_caller()
    return village


@pytest.fixture(scope="module", params=["shop", "web"], ids=["to-envoy", "to-ours"])
def server(request: pytest.FixtureRequest, town: Village) -> str:
    """A server behind Envoy, and one of ours."""
    if request.param == "web" and not town.pods["web"].serves:
        town.pods["web"].serve("rpc")
    return str(request.param)
