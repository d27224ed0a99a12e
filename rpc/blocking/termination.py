"""A pod's end, in the order that Kubernetes needs.

Kubernetes sends SIGTERM and takes the pod out of its Services at the same time; clients hear of it a little later, by
way of istiod. So: say not ready, go on serving until they have heard, then close the connections politely (GOAWAY,
calls in progress finish), then end. `terminationGracePeriodSeconds` has to be larger than both times together.
"""

from __future__ import annotations

import logging
import signal
import sys
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpc.blocking.server import Server

_log = logging.getLogger(f"proxyless.{__name__}")
ENDPOINT_DELAY = 5.0
GRACE = 20.0
_LOOK = 0.05  # seconds between looks whether the server has stopped


def serve_until_terminated(server: Server, *, endpoint_delay: float = ENDPOINT_DELAY, grace: float = GRACE) -> None:
    """Block until SIGTERM or SIGINT, then end the server without losing a call. Main thread only (ValueError else).

    ``endpoint_delay``: seconds to go on serving while clients hear that this endpoint goes; ``grace``: seconds that
    calls in progress get after that. A second signal ends at once.

    >>> server.start()  # doctest: +SKIP
    >>> rpc.serve_until_terminated(server, endpoint_delay=5, grace=20)  # doctest: +SKIP
    """
    asked: SimpleQueue[int] = SimpleQueue()  # its put may interrupt its get: a signal handler does
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda number, _: asked.put(number)) for number in numbers}
    try:
        say_what_follows(asked.get(), endpoint_delay, grace)
        server.announce_end()
        stopped = server.stop(0 if _again(asked, endpoint_delay) else grace)
        while not stopped.is_set():
            if _again(asked, _LOOK):
                server.stop(None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say_what_follows(number: int, endpoint_delay: float, grace: float) -> None:
    """Whoever has pressed Ctrl-C sits before it, and would take the seconds that follow for a program that hangs."""
    told = (
        f"ending: serves on for {endpoint_delay:g} s while clients hear of it, then calls in progress have "
        f"{grace:g} s; a second signal ends at once"
    )
    _log.info("%s", told)
    if number == signal.SIGINT:
        print(told.replace("signal", "Ctrl-C"), file=sys.stderr, flush=True)  # noqa: T201 - not all programs show their log


def _again(asked: SimpleQueue[int], seconds: float) -> bool:
    """A further signal came in this time."""
    try:
        asked.get(timeout=seconds)
    except Empty:
        return False
    return True
