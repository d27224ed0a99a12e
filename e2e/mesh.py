"""The two control planes that a test may run against, behind one shape: a folder of YAML and an address."""

from __future__ import annotations

import itertools
import sys
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import yaml

from e2e.child import ROOT, Child, free_ports
from e2e.tokens import TokenIssuer
from localmesh.ca.tokens import TokenIssuer as LocalTokenIssuer

if TYPE_CHECKING:
    from collections.abc import Mapping

ISTIOD = ROOT / ".build" / "controlplane"


class Mesh(ABC):
    """A control plane as a child process. Its addresses stay the same from start to restart.

    ``address`` is plaintext; ``secure_address`` is TLS, where certificates are signed for who shows a `token`.
    ``environment`` is added to the process's, and ``mesh_config`` to its MeshConfig.
    """

    kind: ClassVar[str]
    ready: ClassVar[str] = "ready"  # what it says when it is
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    def __init__(
        self,
        folder: Path,
        auto_mtls: bool = False,
        host: str = "127.0.0.1",
        environment: Mapping[str, str] | None = None,
        outbound: str = "ALLOW_ANY",
        mesh_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.state = Path(tempfile.mkdtemp(prefix=f"{self.kind}-{next(self._numbers)}-", dir=folder))
        self.config = self.state / "config"
        self.config.mkdir()
        self.ca = self.state / "ca"
        self.root = self.ca / "root-cert.pem"  # what clients trust; there once it has started
        self.host = host
        self.address, self.secure_address = (f"{host}:{port}" for port in free_ports(2, host))
        self.auto_mtls = auto_mtls
        self.outbound = outbound  # what becomes of calls to unknown hosts
        self.configure(**mesh_config or {})
        self.child = Child(
            self.kind,
            self._command(),
            self.state / "log",
            self.ready,
            environment=self._environment() | dict(environment or {}),
        )

    @property
    @abstractmethod
    def mesh_config(self) -> Path:
        """Where this control plane reads its MeshConfig."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def token(self, namespace: str, service_account: str, **claims: Any) -> str:
        """As the kubelet would project it into a pod; ``audience`` and ``lifetime`` (seconds) may be others."""

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

    def configure(self, **more: Any) -> None:
        """Replace what the MeshConfig says beside what it always does; a control plane that runs sees to it."""
        draft = self.state / "mesh.draft"
        always = {
            "trustDomain": "cluster.local",
            "rootNamespace": "istio-system",
            "enableAutoMtls": self.auto_mtls,
            "outboundTrafficPolicy": {"mode": self.outbound},
        }
        draft.write_text(yaml.safe_dump(always | more))
        draft.replace(self.mesh_config)


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
        command += ["--ca", str(self.ca), "--grpc", self.address, "--secure-grpc", self.secure_address]
        for flag in ("--http", "--https", "--monitoring"):
            command += [flag, "127.0.0.1:0"]
        return command

    def _environment(self) -> dict[str, str]:
        self._tokens = TokenIssuer()
        return {"JWT_RULE": self._tokens.rule}

    def start(self) -> None:
        self._tokens.start()
        super().start()

    def stop(self) -> None:
        super().stop()
        self._tokens.stop()

    def token(self, namespace: str, service_account: str, **claims: Any) -> str:
        return self._tokens.mint(namespace, service_account, **claims)


class LocalMesh(Mesh):
    """Our own embedded control plane, as a process of its own so that it can be killed."""

    kind = "local"
    ready = "serving"

    @property
    def mesh_config(self) -> Path:
        return self.config / "mesh.yaml"

    def _command(self) -> list[str]:
        command = [sys.executable, "-m", "localmesh", str(self.config), "--listen", self.address]
        return [*command, "--secure-listen", self.secure_address, "--ca", str(self.ca)]

    def token(self, namespace: str, service_account: str, **claims: Any) -> str:
        return LocalTokenIssuer(self.ca).mint(namespace, service_account, **claims)


KINDS: dict[str, type[Mesh]] = {mesh.kind: mesh for mesh in (LocalMesh, IstiodMesh)}
