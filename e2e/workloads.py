"""Providers as child processes, one loopback address each, and the YAML that names them."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

from e2e import yamls
from e2e.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Workload:
    """One pod, as it were: ``reviews-v1-0`` of app reviews, version v1, at an address of its own."""

    def __init__(self, name: str, app: str, version: str, *, address: str, log: Path, engine: str) -> None:
        self.name = name
        self.app = app
        self.version = version
        self.address = address
        listen = f"{address}:{yamls.TARGET_PORT}"
        command = [sys.executable, "-m", "e2e.provider", "--name", name, "--listen", listen, "--engine", engine]
        self.process = Child(name, command, log)

    def entry(self, **spec: Any) -> dict[str, Any]:
        return yamls.workload_entry(self.name, self.address, self.app, self.version, **spec)


class Fleet:
    """The workloads of one test, on loopback addresses that no other run of the tests uses."""

    def __init__(self, folder: Path, engine: str, born: Callable[[Child], object]) -> None:
        self._folder = folder
        self._engine = engine
        self._born = born
        self._network = f"127.{random.randrange(10, 250)}.{random.randrange(256)}"
        self.workloads: list[Workload] = []

    def add(self, app: str, version: str, count: int = 1) -> list[Workload]:
        """Start ``count`` more workloads of one version."""
        added = []
        for _ in range(count):
            number = len(self.workloads)
            name = f"{app}-{version}-{number}"
            address, log = f"{self._network}.{number + 1}", self._folder / f"{name}.log"
            workload = Workload(name, app, version, address=address, log=log, engine=self._engine)
            self._born(workload.process)
            workload.process.start()
            self.workloads.append(workload)
            added.append(workload)
        return added

    def entries(self) -> list[dict[str, Any]]:
        return [workload.entry() for workload in self.workloads]

    def version_of(self, server: str) -> str:
        """The version of the workload that answered with this name."""
        return next(workload.version for workload in self.workloads if workload.name == server)

    def stop(self) -> None:
        for workload in self.workloads:
            workload.process.stop()
