"""What the child of a fork makes of exchangers and identities that it inherits: what is known stays known; threads,
locks and streams are the parent's, and new ones are made when something is wanted from them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from typing import Protocol

logger = logging.getLogger(f"proxyless.{__name__}")


class Inheritor(Protocol):
    """Something that goes on in a child."""

    def inherit(self) -> None:
        """Let go of what is the parent's: called in the child, which has this one thread, before anything else runs.

        Locks are replaced, not taken: their holders may be threads that are gone.
        """


_inheritors: weakref.WeakSet[Inheritor] = weakref.WeakSet()


def inherits(thing: Inheritor) -> None:
    """Tell it of forks, as long as somebody holds it."""
    _inheritors.add(thing)


def abandon(thing: object) -> None:
    """Leave something of the parent's alone for good.

    grpcio's destructors take locks and wait for threads that the child does not have, at the interpreter's end too; so
    it must never come to them.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _in_child() -> None:
    for thing in tuple(_inheritors):
        try:
            thing.inherit()
        except Exception:  # the others must not suffer from it
            logger.exception("%r is not fit for use after the fork", thing)


os.register_at_fork(after_in_child=_in_child)
