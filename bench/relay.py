"""A line whose ends are far apart: whatever goes through arrives later, in order, as fast as this machine can.

python -m bench.relay PORT --one-way-ms 25      prints its own port, relays to 127.0.0.1:PORT until standard input ends
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import sys
import threading
import time

_PIECE = 256 * 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.relay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("--one-way-ms", type=float, required=True)
    asked = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    _begin(_accept, listener, asked.port, asked.one_way_ms / 1000)
    sys.stdin.read()


def _begin(target: object, *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _accept(listener: socket.socket, port: int, delay: float) -> None:
    while True:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        for source, target in ((near, far), (far, near)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            _begin(_take, source, on_the_way, delay)
            _begin(_give, target, on_the_way)


def _take(source: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]], delay: float) -> None:
    piece = b"."
    while piece:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        on_the_way.put((time.monotonic() + delay, piece))


def _give(target: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    while True:
        due, piece = on_the_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        with contextlib.suppress(OSError):
            if not piece:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(piece)


if __name__ == "__main__":
    main()
