"""The demo's other processes: providers and the control plane. Each is told to end, whatever becomes of the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 10.0
# The kernel ends our children even if we are killed ourselves.
GUARD = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


class StartError(Exception):
    """A process did not come up; the message holds what it wrote."""


class Process:
    """``python -m MODULE ARGUMENTS``; it is up once a line of its output begins with the word ``ready``."""

    def __init__(
        self,
        name: str,
        module: str,
        *arguments: str,
        log: Path,
        ready: str = "ready",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._environment = {**os.environ, **(environment or {})}
        self._command = [*GUARD, sys.executable, "-m", module, *arguments]
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises `StartError` with its output unless it is up within `START_LIMIT` seconds."""
        with self._log.open("wb") as output:
            # In a process group of its own: Ctrl-C reaches the demo, and the demo ends its children in order.
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
            )
        end = time.monotonic() + START_LIMIT
        while not any(line.startswith(self._ready) for line in self._output().splitlines()):
            if self._process.poll() is not None:
                raise StartError(f"{self.name} ended with status {self._process.returncode}:\n{self._output()}")
            if time.monotonic() > end:
                raise StartError(f"{self.name} is not up after {START_LIMIT:g} s; it wrote:\n{self._output()}")
            time.sleep(0.02)

    @property
    def said(self) -> str:
        """The line that says that it is up."""
        return next(line for line in self._output().splitlines() if line.startswith(self._ready))

    @property
    def wrote(self) -> list[str]:
        """All lines of its output, its log among them."""
        return self._output().splitlines()

    def kill(self) -> None:
        """SIGKILL: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it does not heed that."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _output(self) -> str:
        return self._log.read_text(errors="replace")
