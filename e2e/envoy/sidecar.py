"""A sidecar: a real Envoy and its agent, in a pod's network, and what Envoy says about itself on its admin socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from e2e.child import ROOT, Child
from e2e.envoy.agent import agent_command
from e2e.envoy.bootstrap import SidecarNode, bootstrap
from e2e.envoy.inbound import Chain, chains

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.mesh import Mesh

ENVOY = ROOT / ".venv" / "bin" / "envoy"

DRAIN = 3  # seconds that connections of before a change may stay; istio-proxy has 45, for tests that is long


class Sidecar:
    """``enter`` is the beginning of a command that runs in the pod's network; ``folder`` is for its files."""

    def __init__(
        self, node: SidecarNode, enter: list[str], mesh: Mesh, folder: Path, token: Path, outbound: dict[str, str]
    ) -> None:
        self._admin = folder / "admin"
        sds, config = folder / "sds", folder / "envoy.json"
        config.write_text(json.dumps(bootstrap(node, mesh.address, str(self._admin), str(sds), outbound)))
        agent = [*enter, *agent_command(mesh, token), "--listen", str(sds)]
        self.agent = Child(f"{node.name}-agent", agent, folder / "agent.log", limit=60.0)
        command = [*enter, str(ENVOY), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1"]
        command += ["--drain-time-s", str(DRAIN), "--drain-strategy", "immediate"]
        # misc warns of each field that istiod uses and Envoy will drop some day
        command += ["--log-level", "info", "--component-log-level", "misc:error"]
        self.envoy = _Envoy(f"{node.name}-envoy", command, folder / "envoy.log", self)

    def start(self) -> None:
        self.agent.start()
        self.envoy.start()

    def stop(self) -> None:
        self.envoy.stop()
        self.agent.stop()

    def ask(self, path: str) -> str:
        """What the admin interface answers; `OSError` while it is not up."""
        connection = UnixConnection(str(self._admin))
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """It is live, has a listener for what comes in, and every secret of it."""
        with suppress(OSError, http.client.HTTPException):
            return self.ask("/ready").strip() == "LIVE" and "virtualInbound::" in self.ask("/listeners")
        return False

    def config(self, *kinds: str) -> list[dict[str, Any]]:
        """The parts of the configuration dump with these words in their type, e.g. ``Listeners``."""
        dumped = json.loads(self.ask("/config_dump?include_eds"))["configs"]
        return [part for part in dumped if any(kind in part["@type"] for kind in kinds)]

    def refused(self) -> list[str]:
        """What of istiod's configuration this Envoy has refused, by its own statistics; nothing, one hopes."""
        lines = self.ask("/stats?filter=update_rejected|update_failure").splitlines()
        return [line for line in lines if ": " in line and not line.endswith(": 0") and "P0(" not in line]

    def inbound(self, port: int) -> list[Chain]:
        """The filter chains that a connection to this port of the pod may meet."""
        for part in self.config("Listeners"):
            for listener in part.get("dynamic_listeners", []):
                if listener["name"] == "virtualInbound" and "active_state" in listener:
                    return chains(listener["active_state"]["listener"], port)
        return []

    def draining(self) -> int:
        """How many filter chains of before the last change still have connections."""
        return sum(self.counted("total_filter_chains_draining|total_listeners_draining").values())

    def counted(self, pattern: str) -> dict[str, int]:
        """Its counters whose names match, by name."""
        lines = self.ask(f"/stats?filter={pattern}").splitlines()
        pairs = (line.rpartition(": ") for line in lines)
        return {name: int(value) for name, _, value in pairs if value.isdigit()}


class _Envoy(Child):
    """It says by its admin interface, and not by a line of output, that it is ready."""

    def __init__(self, name: str, command: list[str], log: Path, sidecar: Sidecar) -> None:
        super().__init__(name, command, log, limit=60.0)
        self._sidecar = sidecar

    def _wait_ready(self, offset: int) -> None:
        end = time.monotonic() + self._limit
        while not self._sidecar.is_ready():
            if not self.running:
                raise RuntimeError(f"{self.name} ended before it was ready:\n{self.tail()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} is not ready after {self._limit} s:\n{self.tail()}")
            time.sleep(0.05)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("envoy", timeout=10.0)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
