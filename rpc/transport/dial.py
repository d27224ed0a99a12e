"""Making a connection: the socket, then what protects it; blocking, and in an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from rpc.security.material import printable
from rpc.transport.sockets import connect, connect_in_loop
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc._native import ClientLink, ClientTls, Reactor, TransportConfig
    from rpc.security import Security
    from rpc.transport.connection import Connection
    from rpc.transport.proxy import Proxy

# getaddrinfo imports this codec when first called. A fork meanwhile, in another thread, would leave the child with an
# import that never ends.
"".encode("idna")

_MUTE = "the peer accepted the connection and said nothing in time"
_PLAINTEXT = (
    "it was called in plaintext; if it wants TLS, use rpc.secure_channel with rpc.ssl_channel_credentials, and in the "
    "mesh let the tls mode of its DestinationRule and its PeerAuthentication agree"
)


class MuteError(OSError):
    """The peer does not speak as it should; the message says how."""


def dial(connection: Connection, reactor: Reactor, config: TransportConfig, proxy: Proxy | None = None) -> ClientLink:
    """Connect within the connection's time-out, certificate, handshake and first words included; raises OSError."""
    key, until = connection.key, time.monotonic() + connection.connect_timeout
    tls = key.security.context(connection.connect_timeout) if key.security is not None else None
    heard: SimpleQueue[str | None] = SimpleQueue()
    fd = _admitted(connect(key, proxy, until), key.security)
    link = reactor.connect(fd, config, weakly(connection.lost), heard.put, tls, _on_room(connection))
    try:
        problem = heard.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        problem = _MUTE
    if problem is not None:
        link.close(problem)
        raise MuteError(problem if key.security is not None else f"{problem} ({_PLAINTEXT})")
    return link


async def dial_in_loop(
    connection: Connection, reactor: Reactor, config: TransportConfig, proxy: Proxy | None = None
) -> ClientLink:
    """The same without blocking the loop."""
    key, loop = connection.key, asyncio.get_running_loop()
    until = loop.time() + connection.connect_timeout
    tls = await _context(key.security, connection.connect_timeout) if key.security is not None else None
    heard: asyncio.Future[str | None] = loop.create_future()
    fd = _admitted(await connect_in_loop(key, proxy, until), key.security)
    link = reactor.connect(fd, config, weakly(connection.lost), _settle(heard), tls, _on_room(connection))
    try:
        async with asyncio.timeout_at(until):
            problem = await heard
    except TimeoutError:
        problem = _MUTE
    except asyncio.CancelledError:
        link.close(_MUTE)
        raise
    if problem is not None:
        link.close(problem)
        raise MuteError(problem if key.security is not None else f"{problem} ({_PLAINTEXT})")
    return link


def _on_room(connection: Connection) -> Callable[[], None] | None:
    """Calls beyond the server's limit of streams wait in the connection's queue, or in the engine where it is one."""
    return weakly(connection.seat) if connection.bound > 1 else None


def _admitted(fd: int, security: Security | None) -> int:
    if security is not None:
        try:
            security.admit(fd)
        except BaseException:
            os.close(fd)
            raise
    return fd


async def _context(security: Security, seconds: float) -> ClientTls | None:
    """Waits for the process's first certificate; not in a thread, for those of a loop are few and the user's."""
    if not security.prepared:
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        with (
            contextlib.closing(security.observe(lambda: loop.call_soon_threadsafe(came.set))),
            contextlib.suppress(TimeoutError),
        ):
            async with asyncio.timeout(seconds):
                await came.wait()
    return security.context(0.0)  # or why there is none


def _settle(heard: asyncio.Future[str | None]) -> Callable[[str | None], None]:
    def settle(problem: str | None) -> None:
        if not heard.done():
            heard.set_result(problem)

    return settle


def reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "connecting timed out"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno > 0 else printable(str(error))
    return printable(str(error)) or type(error).__name__
