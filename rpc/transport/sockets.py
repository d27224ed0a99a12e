"""A connected socket to an address: TCP, a Unix domain, or through an HTTP proxy; blocking, and in an event loop.

The result is a bare descriptor for the engine. An address is a name, an IP address, ``unix:path`` or
``unix-abstract:name``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

from rpc.transport.proxy import HEAD_LIMIT, ProxyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rpc.transport.connection import ConnectionKey
    from rpc.transport.proxy import Proxy


def unix_path(address: str) -> str | None:
    """Where a Unix domain address points, as the kernel takes it; None for other addresses."""
    if address.startswith("unix-abstract:"):
        return "\0" + address.removeprefix("unix-abstract:")
    return address.removeprefix("unix:") if address.startswith("unix:") else None


@contextlib.contextmanager
def _kept_if_whole(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def connect(key: ConnectionKey, proxy: Proxy | None, until: float) -> int:
    """Connect until then (monotonic); raises OSError."""
    path = unix_path(key.address)
    if path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _kept_if_whole(sock):
            sock.settimeout(_left(until))
            sock.connect(path)
            return sock.detach()
    to = (key.address, key.port) if proxy is None else (proxy.host, proxy.port)
    with _kept_if_whole(socket.create_connection(to, _left(until))) as sock:
        if proxy is not None:
            sock.sendall(proxy.request(key))
            head = b""
            while not proxy.accepted(head):
                sock.settimeout(_left(until))
                head += _some(sock.recv(1), head, proxy)
        return sock.detach()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _some(piece: bytes, head: bytes, proxy: Proxy) -> bytes:
    """Byte by byte: what follows the proxy's answer is the server's, and the engine's to read."""
    if not piece or len(head) > HEAD_LIMIT:
        raise ProxyError(f"the HTTP proxy {proxy} ended its answer too early, or never")
    return piece


async def connect_in_loop(key: ConnectionKey, proxy: Proxy | None) -> int:
    """The same without blocking the loop; tries the addresses of a name one after the other."""
    loop = asyncio.get_running_loop()
    path = unix_path(key.address)
    if path is not None:
        return (await _connected(socket.AF_UNIX, 0, path)).detach()
    host, port = (key.address, key.port) if proxy is None else (proxy.host, proxy.port)
    error: OSError = OSError(f"{host} has no address")
    for family, _, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            sock = await _connected(family, protocol, address)
        except OSError as failure:
            error = failure
            continue
        with _kept_if_whole(sock):
            if proxy is not None:
                await loop.sock_sendall(sock, proxy.request(key))
                head = b""
                while not proxy.accepted(head):
                    head += _some(await loop.sock_recv(sock, 1), head, proxy)
            return sock.detach()
    raise error


async def _connected(family: int, protocol: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    with _kept_if_whole(sock):
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]  # a path is one, too
    return sock
