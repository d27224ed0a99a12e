"""In whose code the CPU's samples of a process fall, where `perf` may be used: a second opinion on `bench.layers`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from bench.processes import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"\s*([\d.]+)%\s+(\S+)")
_WHOSE = (
    (re.compile(r"\[kernel|\[guest"), "kernel"),
    (re.compile(r"_native\."), "our Rust"),
    (re.compile(r"_message\.|_upb"), "protobuf"),
    (re.compile(r"libpython|python[\d.]*$|\.cpython-|\.abi3\."), "Python and its modules"),
)
_REST = "C library"
_START_SECONDS = 5.0


def whose(library: str) -> str:
    return next((owner for pattern, owner in _WHOSE if pattern.search(library)), _REST)


def _begun(file: Path) -> bool:
    """It writes what it knows of the process when it is about to sample."""
    return file.exists() and file.stat().st_size > 0


class Sampler:
    """Samples the CPU time of one process until it is asked. Raises OSError if perf cannot."""

    def __init__(self, pid: int, file: Path) -> None:
        perf = shutil.which("perf")
        if perf is None:
            raise OSError("no 'perf' on the PATH")
        self._perf, self._file = perf, file
        self._said: str | None = None
        command = [sys.executable, "-m", "bench.pinned", "-", perf, "record", "--quiet", "--event", "cpu-clock"]
        command += ["--freq", "997", "--output", str(self._file), "--pid", str(pid)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
        )
        until = time.monotonic() + _START_SECONDS
        while not _begun(file) and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)

    def stop(self) -> str:
        """Safe to call again; returns what perf had to say."""
        if self._said is None:
            self._process.terminate()
            _, self._said = self._process.communicate()
        return self._said

    def shares(self) -> dict[str, float]:
        """Of 1, the largest first. Raises OSError with what perf said."""
        said = self.stop()
        command = [self._perf, "report", "--quiet", "--stdio", "--sort", "dso", "--input", str(self._file)]
        report = subprocess.run(command, capture_output=True, text=True, check=False)
        shares: Counter[str] = Counter()
        for line in report.stdout.splitlines():
            if found := _LINE.match(line):
                shares[whose(found[2])] += float(found[1]) / 100
        if not shares:
            raise OSError(" ".join((said + report.stderr).split()) or "perf saw nothing")
        return dict(shares.most_common())
