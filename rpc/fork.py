"""What the child of a fork makes of the channels and servers that it inherits: their values stay; connections, threads
and locks are its parent's. The engine sees to its descriptors before this runs (native/drive/src/fork.rs).
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
import weakref
from typing import Protocol

_log = logging.getLogger(f"proxyless.{__name__}")


class Inheritor(Protocol):
    """Something that goes on in a child."""

    def inherit(self) -> None:
        """Let go of what is the parent's: called in the child, which has this one thread, before anything else runs.

        Locks are replaced, not taken: their holders may be threads that are gone.
        """


_inheritors: weakref.WeakSet[Inheritor] = weakref.WeakSet()
_generation = 0


def inherits(thing: Inheritor) -> None:
    """Tell it of forks, as long as somebody holds it."""
    _inheritors.add(thing)


class ProcessLock:
    """A lock of the whole process. A child has one that nobody holds: its holder may be a thread that is not there."""

    def __init__(self) -> None:
        self.inherit()
        inherits(self)

    def inherit(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def abandon(thing: object) -> None:
    """Leave something of the parent's alone for good: it may be half changed, and is not to be destroyed."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def generation() -> int:
    """How many forks led to this process. What remembers another one was made by an ancestor."""
    return _generation


def _in_child() -> None:
    global _generation  # noqa: PLW0603 - a fact about the process
    _generation += 1
    for thing in tuple(_inheritors):
        try:
            thing.inherit()
        except Exception:  # the others must not suffer from it
            _log.exception("%r is not fit for use after the fork", thing)


os.register_at_fork(after_in_child=_in_child)
