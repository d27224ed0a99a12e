"""The one thread that looks after connections that no caller waits on: pings, GOAWAY, close, futures.

One hub and one daemon thread per process, started with the first blocking channel. The thread ends before the
interpreter does: inside the engine it must not meet a finalizing interpreter.
"""

from __future__ import annotations

import atexit
import os
import threading

from rpc._native import Hub

_lock = threading.Lock()
_hub: Hub | None = None


def tended_hub() -> Hub:
    """The process's hub for blocking connections."""
    global _hub  # noqa: PLW0603 - one thread per process is the point; it is made on demand, never at import
    with _lock:
        if _hub is None:
            _hub = Hub()
            _Tender(_hub).start()
        return _hub


def _after_fork() -> None:
    global _hub, _lock
    _hub, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class _Tender(threading.Thread):
    def __init__(self, hub: Hub) -> None:
        super().__init__(name="proxyless-tender", daemon=True)
        self._hub = hub
        self._stopping = False
        atexit.register(self.stop)

    def run(self) -> None:
        while not self._stopping:
            self._hub.poll(None)

    def stop(self) -> None:
        self._stopping = True
        if self.is_alive():
            self._hub.wake()
            self.join(1.0)
