"""Greenlets in the place of threads: what waits in the engine, or in one of our threads, would hold up all of them.

gevent's `monkey.patch_all()` and eventlet's `monkey_patch()` make threads, locks, queues and sockets into greenlets of
one thread. The engine's threads wait in the system itself, and would never let another greenlet run.
"""

from __future__ import annotations

import sys

_PARTS = ("thread", "threading", "queue", "socket", "select")


class GreenletsError(RuntimeError):
    """The process's threads are greenlets, under which nothing here can wait."""


def refuse_greenlets() -> None:
    """Raises `GreenletsError` where gevent or eventlet took the place of threads or sockets: calls would hang."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and any(gevent.is_module_patched(part) for part in _PARTS):
        raise _refusal(
            "gevent.monkey.patch_all()", "; grpcio works with gevent after grpc.experimental.gevent.init_gevent()"
        )
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and any(eventlet.is_monkey_patched(part) for part in _PARTS):
        raise _refusal("eventlet.monkey_patch()", "")


def _refusal(patch: str, instead: str) -> GreenletsError:
    return GreenletsError(
        f"{patch} has put greenlets in the place of this process's threads, under which proxyless would wait for ever: "
        f"run it in a process that is not patched (gunicorn: worker class gthread; Celery: pool prefork or threads)"
        f"{instead}"
    )
