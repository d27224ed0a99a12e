"""Programs of ours as child processes: started until their ready line, ended politely or by SIGKILL."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent


class Child:
    """One process. It is started when a line of its output begins with the word ``ready``."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        ready: str = "ready",
        limit: float = 20.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._ready = ready
        self._limit = limit
        self._environment = _environment() | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        # setpriv: whatever becomes of the test process, its children end with it.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("ab") as out:
            said_before = out.tell()
            self._process = subprocess.Popen(
                [*guard, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=self._environment,
            )
        try:
            self._wait_ready(said_before)
        except BaseException:
            self.kill()
            raise

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after the grace."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """SIGKILL; returns when the kernel has closed all that it held."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def tail(self, size: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def _wait_ready(self, offset: int) -> None:
        assert self._process is not None
        end = time.monotonic() + self._limit
        while time.monotonic() < end:
            said = self.log.read_bytes()[offset:].decode(errors="replace")
            if any(line.startswith(self._ready) for line in said.splitlines()):
                return
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode} before ready:\n{self.tail()}")
            time.sleep(0.01)
        raise TimeoutError(f"{self.name} is not ready after {self._limit} s:\n{self.tail()}")


# On a pytest node (a test, a module): the processes whose logs a failure of it shows.
CHILDREN = pytest.StashKey[list[Child]]()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """So many different ones, as `free_port`."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port(host))
    return list(ports)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, below the ephemeral ones.

    A client that keeps dialling a dead server's ephemeral port on loopback may, by chance, connect to itself.
    """
    for _ in range(200):
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                return port
    raise RuntimeError(f"no free port between 10000 and 30000 on {host}")
