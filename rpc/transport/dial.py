"""Making a transport: the socket, then what protects it; blocking, and in an event loop."""

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

    from rpc._native import ClientTls, ClientTransport, Reactor, TransportConfig
    from rpc.security import Security
    from rpc.transport.proxy import Proxy
    from rpc.transport.subchannel import Subchannel

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


def dial(
    subchannel: Subchannel, reactor: Reactor, config: TransportConfig, proxy: Proxy | None = None
) -> ClientTransport:
    """Connect within the subchannel's time-out, certificate, handshake and first words included; raises OSError."""
    key, until = subchannel.key, time.monotonic() + subchannel.connect_timeout
    tls = key.security.context(subchannel.connect_timeout) if key.security is not None else None
    heard: SimpleQueue[str | None] = SimpleQueue()
    fd = _admitted(connect(key, proxy, until), key.security)
    transport = reactor.connect(fd, config, weakly(subchannel.lost), heard.put, tls, _on_room(subchannel))
    try:
        problem = heard.get(timeout=max(0.0, until - time.monotonic()))
    except Empty:
        problem = _MUTE
    if problem is not None:
        transport.close(problem)
        raise MuteError(problem if key.security is not None else f"{problem} ({_PLAINTEXT})")
    return transport


async def dial_in_loop(
    subchannel: Subchannel, reactor: Reactor, config: TransportConfig, proxy: Proxy | None = None
) -> ClientTransport:
    """The same without blocking the loop."""
    key, loop = subchannel.key, asyncio.get_running_loop()
    until = loop.time() + subchannel.connect_timeout
    tls = await _context(key.security, subchannel.connect_timeout) if key.security is not None else None
    heard: asyncio.Future[str | None] = loop.create_future()
    fd = _admitted(await connect_in_loop(key, proxy, until), key.security)
    transport = reactor.connect(fd, config, weakly(subchannel.lost), _settle(heard), tls, _on_room(subchannel))
    try:
        async with asyncio.timeout_at(until):
            problem = await heard
    except TimeoutError:
        problem = _MUTE
    except asyncio.CancelledError:
        transport.close(_MUTE)
        raise
    if problem is not None:
        transport.close(problem)
        raise MuteError(problem if key.security is not None else f"{problem} ({_PLAINTEXT})")
    return transport


def _on_room(subchannel: Subchannel) -> Callable[[], None] | None:
    """Calls beyond the server's limit of streams wait in the subchannel's queue, or in the engine where it has one."""
    return weakly(subchannel.assign_streams) if subchannel.bound > 1 else None


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
