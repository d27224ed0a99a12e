"""Making a connected socket: blocking, and in an event loop. The result is a bare descriptor for the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rpc.transport.connection import ConnectionKey


def dial(key: ConnectionKey, timeout: float) -> int:
    """Connect within ``timeout`` seconds; raises OSError."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((key.address, key.port), timeout))
        stack.pop_all()
        return sock.detach()


async def dial_in_loop(key: ConnectionKey, timeout: float) -> int:  # noqa: ASYNC109 - the same call in both worlds
    """The same without blocking the loop; tries the addresses of a name one after the other."""
    loop = asyncio.get_running_loop()
    error: OSError = OSError(f"{key.address} has no address")
    async with asyncio.timeout(timeout):
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
