"""Where localmesh listens, judged before gRPC is asked.

It would take a port of 99999 for another one, and its C core writes what it thinks of a busy one on the terminal.
"""

from __future__ import annotations

import errno
import socket

from localmesh.errors import LocalMeshError
from localmesh.files import advice

MAX_PORT = 65535


def split(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[IPV6]:PORT``; raises `LocalMeshError`."""
    host, colon, port = address.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    is_port = port.isascii() and port.isdigit() and len(port) <= len(str(MAX_PORT)) and int(port) <= MAX_PORT
    if not (colon and bare and is_port) or (":" in bare and bare == host):
        raise LocalMeshError(
            f"cannot listen on {address!r}: write HOST:PORT or [IPV6]:PORT, the port from 0 to {MAX_PORT}"
        )
    return bare, int(port)


def listener(address: str, backlog: int | None = None) -> socket.socket:
    """A socket that listens there; raises `LocalMeshError`."""
    host, port = split(address)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        step = "stop what listens there, or name another port (0 takes a free one)"
        reason = f"address already in use: {step}" if error.errno == errno.EADDRINUSE else advice(error)
        raise LocalMeshError(f"cannot listen on {address}: {reason}") from error


def check_free(address: str) -> None:
    """Raises `LocalMeshError` if nobody could listen there now."""
    listener(address).close()
