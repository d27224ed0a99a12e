"""What the cluster's tests start from: an API server with Istio on it, and the chart in a namespace of its own.

--cluster=local starts both here, in a private network; --cluster=kind takes what the current kubeconfig points at.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from e2e.cluster.api import Api
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.network import private_network
from e2e.cluster.release import Release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Install = Callable[..., Release]

CONTROL_PLANE = pytest.StashKey[ControlPlane]()


@pytest.fixture(scope="session")
def control_plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Only --cluster=local has it: the processes themselves, to be killed or given other keys."""
    if request.config.getoption("--cluster") != "local":
        pytest.skip("only --cluster=local can reach into the control plane")
    with private_network():
        control_plane = ControlPlane(tmp_path_factory.mktemp("cluster"))
        request.session.stash[CONTROL_PLANE] = control_plane
        try:
            control_plane.start()
            yield control_plane
        finally:
            control_plane.stop()


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Api:
    if request.config.getoption("--cluster") == "local":
        return Api.load(str(request.getfixturevalue("control_plane").kubeconfig))
    return Api.load()


@pytest.fixture(scope="module")
def install(api: Api, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    """Install the chart with some values, in a new namespace; gone at the end of the test's module."""
    folder = tmp_path_factory.mktemp("chart")
    numbers = itertools.count(1)
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    installed: list[Release] = []

    def install_chart(**values: object) -> Release:
        release = Release(api, f"{name}-{next(numbers)}", folder)
        installed.append(release)
        release.install(values)
        return release

    yield install_chart
    for release in installed:
        release.uninstall()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what the cluster's processes and its pods logged."""
    report = yield
    control_plane = item.session.stash.get(CONTROL_PLANE, None)
    if report.failed and control_plane is not None:
        report.sections += [(f"log of {child.name}", child.tail()) for child in control_plane.children]
        for log in control_plane.pod_logs():
            report.sections.append((f"log of {log.parent.name}", _tail(log)))
    return report


def _tail(log: Path, size: int = 3000) -> str:
    return log.read_text(errors="replace")[-size:]
