"""Files that a configuration or a setting names. A name is not trusted to be a file: reading never waits, and ends.

A pipe would stop the thread or the loop that opens it until somebody writes; a device has no end.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 4 << 20  # twenty times the bundle of an operating system


def read_file(path: str | Path) -> bytes:
    """What is in it. Any thread. Raises OSError, with a ``strerror`` that says what is wrong."""
    _require_file(path, os.stat(path).st_mode)  # noqa: PTH116 - before it is opened: that alone makes some devices act
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _require_file(path, os.fstat(descriptor).st_mode)  # it may be another one since
        parts, left = [], LARGEST + 1
        while left > 0 and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise OSError(errno.EFBIG, f"is larger than {LARGEST >> 20} MiB", str(path))
    return b"".join(parts)


def _require_file(path: str | Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise OSError(errno.EINVAL, f"is {kind}, no regular file", str(path))
