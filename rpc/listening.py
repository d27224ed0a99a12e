"""Binding server addresses, as grpc writes them: ``host:port``, ``[::]:port``, port 0 for a free one."""

from __future__ import annotations

import socket

_BACKLOG = 1024


def bind(address: str, *, reuse_port: bool) -> socket.socket:
    """A bound, not yet listening socket; raises RuntimeError naming the address, as grpcio does."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise RuntimeError(f"Failed to bind to address {address!r}: it is written host:port")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            host or "::", int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(name)
    except OSError as error:
        listener.close()
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
    return listener


def listen(listener: socket.socket) -> int:
    """Start to listen and hand the descriptor over."""
    listener.listen(_BACKLOG)
    return listener.detach()
