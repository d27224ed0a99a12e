"""Questions to a program in a pod, from outside of it: one line of JSON each way over a Unix socket."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Question = dict[str, Any]


def answer(path: str, reply: Callable[[Question], Any]) -> None:
    """Serve questions at this path until the process ends; each connection has a thread of its own."""

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(reply(json.loads(line))).encode() + b"\n")

    server = socketserver.ThreadingUnixStreamServer(path, Lines)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()


class Line:
    """The other side. One connection per thread that asks, so that questions may overlap."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._mine = threading.local()
        self._open: list[Any] = []

    def ask(self, question: Question, timeout: float = 30.0) -> Any:
        """``timeout`` in seconds. `TimeoutError` or `ConnectionError` when the program is in no state to answer."""
        if not hasattr(self._mine, "stream"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self._path)
            self._mine.connection, self._mine.stream = connection, connection.makefile("rb")
            self._open += [self._mine.stream, connection]
        self._mine.connection.settimeout(timeout)
        self._mine.connection.sendall(json.dumps(question).encode() + b"\n")
        said = self._mine.stream.readline()
        if not said:
            raise ConnectionError(f"{self._path}: the program hung up")
        return json.loads(said)

    def close(self) -> None:
        for one in self._open:
            one.close()
