"""What every end-to-end test starts from: a control plane, workloads, one exchanger, and clients on it.

pytest e2e --mesh=istiod|local --cluster=local|kind --engine=rpc|grpcio
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from e2e.calls import CLIENTS, Client, Options
from e2e.child import CHILDREN
from e2e.envoy.fixtures import network, server, town, village
from e2e.exchange import open_exchanger
from e2e.mesh import KINDS, Mesh
from e2e.workloads import Fleet
from xds_client.exchanger import PilotExchanger

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["network", "server", "town", "village"]

TARGET = "xds:///reviews.demo:9080"

StartMesh = Callable[..., Mesh]
Exchange = Callable[..., PilotExchanger]
Connect = Callable[..., Client]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e")
    group.addoption("--mesh", choices=sorted(KINDS), default="istiod", help="the control plane (default: %(default)s)")
    group.addoption(
        "--cluster", choices=["local", "kind"], default="local", help="where e2e/cluster runs (default: %(default)s)"
    )
    group.addoption(
        "--engine", choices=["rpc", "grpcio"], default="rpc", help="whose servers the workloads are (default: ours)"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its control planes and workloads logged."""
    report = yield
    if report.failed:
        children = [child for node in item.listchain() for child in node.stash.get(CHILDREN, [])]
        logs = [(f"log of {child.name}", child.tail()) for child in children]
        report.sections += [(title, text) for title, text in logs if text]
    return report


@pytest.fixture
def start_mesh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartMesh]:
    """Start a control plane on some YAML: ``start_mesh({"name": text}, auto_mtls=False, kind=the one of --mesh)``."""
    started: list[Mesh] = []

    def start(config: dict[str, str], kind: str = request.config.getoption("--mesh"), **settings: Any) -> Mesh:
        mesh = KINDS[kind](tmp_path, **settings)
        for name, text in config.items():
            mesh.apply(name, text)
        started.append(mesh)
        request.node.stash.setdefault(CHILDREN, []).append(mesh.child)
        mesh.start()
        return mesh

    yield start
    for mesh in started:
        mesh.stop()


@pytest.fixture
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    """Workloads: ``fleet.add("reviews", "v1", count=2)``."""
    children = request.node.stash.setdefault(CHILDREN, [])
    fleet = Fleet(tmp_path, request.config.getoption("--engine"), children.append)
    yield fleet
    fleet.stop()


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """Open a `PilotExchanger` to a mesh; all are closed at the end."""
    with ExitStack() as opened:

        def open_to(mesh: Mesh, **node: str) -> PilotExchanger:
            exchanger = open_exchanger(mesh, **node)
            opened.callback(exchanger.close)
            return exchanger

        yield open_to


@pytest.fixture(params=sorted(CLIENTS))
def connect(request: pytest.FixtureRequest, exchange: Exchange) -> Iterator[Connect]:
    """Open a client on a mesh: blocking in one run of the test, asyncio in the other. All share one exchanger."""
    exchangers: dict[Mesh, PilotExchanger] = {}
    with ExitStack() as opened:

        def connect_to(mesh: Mesh, target: str = TARGET, options: Options = ()) -> Client:
            if mesh not in exchangers:
                exchangers[mesh] = exchange(mesh)
            client = CLIENTS[request.param](target, exchangers[mesh], options)
            opened.callback(client.close)
            return client

        yield connect_to
