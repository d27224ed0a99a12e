"""Threads that may not be had: a process meets its limit (`ulimit -u`, a cgroup's pids.max) and is soon below it again.

So nothing may count a thread as begun before it is: what it was to do is done in another way, or begun again later.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(f"proxyless.{__name__}")


def begun(target: Callable[..., object], name: str, *arguments: object, daemon: bool = True) -> threading.Thread | None:
    """A thread that runs; None: the system has none to give now, which the log has been told.

    ``daemon``: the program's end does not wait for it.
    """
    try:
        return must_begin(target, name, *arguments, daemon=daemon)
    except (RuntimeError, MemoryError) as error:
        _complaint.say(name, error)
        return None


def begun_after(seconds: float, target: Callable[[], object], name: str) -> threading.Timer | None:
    """The same for something that is due later; it can be cancelled."""
    timer = threading.Timer(seconds, target)
    timer.name, timer.daemon = name, True
    try:
        timer.start()
    except (RuntimeError, MemoryError) as error:
        _complaint.say(name, error)
        return None
    return timer


def must_begin(target: Callable[..., object], name: str, *arguments: object, daemon: bool = True) -> threading.Thread:
    """The same; raises what the system says, and then nothing was begun."""
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=daemon)
    thread.start()
    return thread


class Complaint:
    """Said once in a while: at the limit every attempt fails, and there may be thousands."""

    _EVERY = 10.0  # seconds

    def __init__(self) -> None:
        self._at = -self._EVERY

    def say(self, name: str, error: Exception) -> None:
        if time.monotonic() - self._at < self._EVERY:
            return
        self._at = time.monotonic()
        logger.warning(
            "no thread for %r (%s: %s); raise the limit of threads (ulimit -u, the container's pids limit)",
            name,
            type(error).__name__,
            error,
        )


_complaint = Complaint()
