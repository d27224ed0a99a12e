"""Becomes another program, on one core, that does not outlive its parent: `python -m bench.pinned CORE PROGRAM ...`.

Pinned before it starts, a Go program runs Go code on one thread, as where there is one core. CORE ``-``: anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def pin(core: int | None) -> None:
    """Threads inherit it; call it while there are none."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if core is not None:
        os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        # A worker is a session of its own, and Linux weighs sessions: `nice python -m bench` is to mean its workers.
        Path("/proc/self/autogroup").write_text(str(os.nice(0)))


if __name__ == "__main__":
    pin(None if sys.argv[1] == "-" else int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
