"""The one thread that looks after connections that no caller waits on: pings, GOAWAY, close, futures.

One reactor and one daemon thread per process, started with the first blocking channel. The thread ends before the
interpreter does: inside the engine it must not meet a finalizing interpreter.
"""

from __future__ import annotations

import atexit
import os
import threading

from rpc._native import Reactor

_lock = threading.Lock()
_reactor: Reactor | None = None


def tended_reactor() -> Reactor:
    """The process's reactor for blocking connections."""
    global _reactor  # noqa: PLW0603 - one thread per process is the point; it is made on demand, never at import
    with _lock:
        if _reactor is None:
            _reactor = Reactor()
            _Tender(_reactor).start()
        return _reactor


def _after_fork() -> None:
    global _reactor, _lock
    _reactor, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class _Tender(threading.Thread):
    def __init__(self, reactor: Reactor) -> None:
        super().__init__(name="proxyless-tender", daemon=True)
        self._reactor = reactor
        self._stopping = False
        atexit.register(self.stop)

    def run(self) -> None:
        while not self._stopping:
            self._reactor.poll(None)

    def stop(self) -> None:
        self._stopping = True
        if self.is_alive():
            self._reactor.wake()
            self.join(1.0)
