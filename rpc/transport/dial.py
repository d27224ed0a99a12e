"""Making a connection: the socket, then what protects it; blocking, and in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientLink, Hub
    from rpc.transport.connection import Connection, ConnectionKey

# getaddrinfo imports this codec when first called. A fork meanwhile, in another thread, would leave the child with an
# import that never ends.
"".encode("idna")

_MUTE = "the peer accepted the connection and said nothing in time"


class MuteError(OSError):
    """The peer does not speak as it should; the message says how."""


def dial(connection: Connection, hub: Hub, max_message: int) -> ClientLink:
    """Connect within the connection's time-out, certificate, handshake and first words included; raises OSError."""
    key, until = connection.key, time.monotonic() + connection.connect_timeout
    tls = key.security.context(connection.connect_timeout) if key.security is not None else None
    heard: SimpleQueue[str | None] = SimpleQueue()
    link = hub.connect(_socket(key, until), max_message, connection.lost, heard.put, tls)
    try:
        problem = heard.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        problem = _MUTE
    if problem is not None:
        link.close(problem)
        raise MuteError(problem)
    return link


def _socket(key: ConnectionKey, until: float) -> int:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((key.address, key.port), left))
        stack.pop_all()
        return sock.detach()


async def dial_in_loop(connection: Connection, hub: Hub, max_message: int) -> ClientLink:
    """The same without blocking the loop."""
    key, tls = connection.key, None
    heard: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(connection.connect_timeout):
        if key.security is not None:
            if key.security.prepared:
                tls = key.security.context(0.0)
            else:  # the process's first certificate is on its way
                tls = await asyncio.to_thread(key.security.context, connection.connect_timeout)
        link = hub.connect(await _socket_in_loop(key), max_message, connection.lost, _settle(heard), tls)
        try:
            problem = await heard
        except asyncio.CancelledError:
            link.close(_MUTE)
            raise
    if problem is not None:
        link.close(problem)
        raise MuteError(problem)
    return link


def _settle(heard: asyncio.Future[str | None]) -> Callable[[str | None], None]:
    def settle(problem: str | None) -> None:
        if not heard.done():
            heard.set_result(problem)

    return settle


async def _socket_in_loop(key: ConnectionKey) -> int:
    """Tries the addresses of a name one after the other."""
    loop = asyncio.get_running_loop()
    error: OSError = OSError(f"{key.address} has no address")
    addresses = await loop.getaddrinfo(key.address, key.port, type=socket.SOCK_STREAM)
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as failure:
            sock.close()
            error = failure
        except BaseException:
            sock.close()
            raise
        else:
            return sock.detach()
    raise error


def reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "connecting timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else str(error)
    return str(error) or type(error).__name__
