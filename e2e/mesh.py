"""The two control planes that a test may run against, behind one shape: a folder of YAML and an address."""

from __future__ import annotations

import itertools
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pytest

from e2e.child import ROOT, Child, free_port

ISTIOD = ROOT / ".build" / "controlplane"


class Mesh(ABC):
    """A control plane as a child process. Its address stays the same from start to restart."""

    kind: ClassVar[str]
    ready: ClassVar[str] = "ready"  # what it says when it is
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(self, folder: Path, auto_mtls: bool = False) -> None:
        self.state = Path(tempfile.mkdtemp(prefix=f"{self.kind}-{next(self._numbers)}-", dir=folder))
        self.config = self.state / "config"
        self.config.mkdir()
        self.address = f"127.0.0.1:{free_port()}"
        self.auto_mtls = auto_mtls
        self._write_mesh_config()
        self.child = Child(self.kind, self._command(), self.state / "log", self.ready)

    @property
    @abstractmethod
    def mesh_config(self) -> Path:
        """Where this control plane reads its MeshConfig."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @property
    def running(self) -> bool:
        return self.child.running

    def start(self) -> None:
        self.child.start()

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        """SIGKILL: no goodbye to any client."""
        self.child.kill()

    def restart(self) -> None:
        self.child.stop()
        self.child.start()

    def apply(self, name: str, text: str) -> None:
        """Write NAME.yaml in one step, as `kubectl apply` would make it visible: whole or not at all."""
        draft = self.state / f"{name}.draft"
        draft.write_text(text)
        draft.replace(self.config / f"{name}.yaml")

    def delete(self, name: str) -> None:
        (self.config / f"{name}.yaml").unlink()

    def _write_mesh_config(self) -> None:
        self.mesh_config.write_text(
            f"trustDomain: cluster.local\nrootNamespace: istio-system\nenableAutoMtls: {str(self.auto_mtls).lower()}\n"
        )


class IstiodMesh(Mesh):
    """The real istiod, built by e2e/controlplane/build."""

    kind = "istiod"

    @property
    def mesh_config(self) -> Path:
        return self.state / "mesh.yaml"  # in the folder itself istiod would take it for a resource, and a broken one

    def _command(self) -> list[str]:
        if not ISTIOD.exists():
            pytest.skip(f"the real istiod is not built: run e2e/controlplane/build, which makes {ISTIOD}")
        command = [str(ISTIOD), "--config", str(self.config), "--mesh", str(self.mesh_config)]
        command += ["--ca", str(self.state / "ca"), "--grpc", self.address]
        for flag in ("--secure-grpc", "--http", "--https", "--monitoring"):
            command += [flag, "127.0.0.1:0"]
        return command


class LocalMesh(Mesh):
    """Our own embedded control plane, as a process of its own so that it can be killed."""

    kind = "local"
    ready = "serving"

    @property
    def mesh_config(self) -> Path:
        return self.config / "mesh.yaml"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "localmesh", str(self.config), "--listen", self.address]


KINDS: dict[str, type[Mesh]] = {mesh.kind: mesh for mesh in (LocalMesh, IstiodMesh)}
