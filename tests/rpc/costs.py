"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

MIB = 1 << 20


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def resident() -> int:
    """Bytes of memory that this process has."""
    return _status("VmRSS")


def peak() -> int:
    """The most that it had since it began, or since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> None:
    """See proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def all_descriptors() -> int:
    """Have as many descriptors as this process may; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


@contextlib.contextmanager
def many_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        yield all_descriptors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
