"""What was measured on, and who else used it meanwhile: numbers of a busy machine are noisy, and the table says so."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.processes import Cores

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_NOISY = 0.05


class Machine:
    """Made before the measuring, described after it."""

    def __init__(self, cores: Cores) -> None:
        self._cores = cores
        self._begun = time.monotonic()
        self._foreign = self._foreign_seconds()

    @property
    def name(self) -> str:
        versions = f"Python {platform.python_version()}, grpcio {importlib.metadata.version('grpcio')}"
        return f"{versions}, {os.cpu_count()} cores; {self._cores}"

    def others(self) -> str:
        """How much of our cores went to processes that are not ours."""
        used = self._foreign_seconds() - self._foreign
        share = max(0.0, used / (time.monotonic() - self._begun) / len(self._cores.used))
        noisy = ": THE NUMBERS ARE NOISY" if share > _NOISY else ""
        return f"others used {share:.0%} of these cores meanwhile{noisy}"

    def _foreign_seconds(self) -> float:
        """CPU time of the cores in use that went neither to this process nor to the workers that it waited for."""
        busy = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name.removeprefix("cpu") in self._cores.used:
                user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
                busy += user + nice + system + irq + softirq + steal
        own = os.times()
        return busy / _TICKS_PER_SECOND - (own.user + own.system + own.children_user + own.children_system)
