"""Binding server addresses, as grpc writes them: ``host:port``, ``[::]:port``, port 0 for a free one."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from rpc.security import Guard
from rpc.transport.sockets import unix_path

if TYPE_CHECKING:
    from rpc._native import Hub
    from rpc.options import ServerOptions
    from rpc.security import ServerCredentials
    from xds_client import PilotExchanger

_BACKLOG = 1024


def bind(address: str, *, reuse_port: bool) -> socket.socket:
    """A listening socket, as grpcio has it before the start too; raises RuntimeError naming the address."""
    path = unix_path(_without_slashes(address))
    return _bind(address, reuse_port=reuse_port) if path is None else _bind_unix(address, path)


def _without_slashes(address: str) -> str:
    scheme, _, rest = address.partition(":")
    return f"{scheme}:{rest[2:]}" if scheme == "unix" and rest.startswith("///") else address


def _bind_unix(address: str, path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not path.startswith("\0") and stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
                os.unlink(path)  # noqa: PTH108 - what a server left behind; grpcio takes its place, too
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
    return listener


def _bind(address: str, *, reuse_port: bool) -> socket.socket:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise RuntimeError(f"Failed to bind to address {address!r}: it is written host:port")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, name = socket.getaddrinfo(
            host or "::", int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: Python's word for a name with an empty or a long label
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(name)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
    return listener


class Listeners:
    """A server's listening sockets until it starts; then they are the engine's."""

    def __init__(self, options: ServerOptions, mesh: PilotExchanger | None) -> None:
        self._options = options
        self._mesh = mesh
        self._bound: list[tuple[socket.socket, Guard | None]] = []
        self.guards: list[Guard] = []
        self._files: list[str | bytes] = []

    def add(self, address: str, credentials: ServerCredentials | None = None) -> int:
        """Bind; returns the port. Raises RuntimeError naming the address. Without ``credentials`` it is plaintext."""
        listener = bind(address, reuse_port=self._options.reuse_port)
        check = getattr(credentials, "check", None)  # what is wrong from the beginning is told at once
        if check is not None:
            try:
                check(listener)
            except OSError as error:
                listener.close()
                raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
        port: int = 1  # what grpcio says of ports without a number
        if listener.family == socket.AF_UNIX:
            self._files.append(listener.getsockname())
        else:
            port = listener.getsockname()[1]
        guard = Guard(credentials, f"{address} (port {port})", port, self._mesh) if credentials is not None else None
        self._bound.append((listener, guard))
        return port

    def start(self, hub: Hub) -> None:
        """Hand the descriptors to the engine, which accepts."""
        bound, self._bound = self._bound, []
        for listener, guard in bound:
            gate = None
            if guard is not None:
                guard.start(hub)
                self.guards.append(guard)
                gate = guard.gate
            options = self._options
            hub.listen(listener.detach(), options.terms(), gate)

    @property
    def ready(self) -> bool:
        """At every port somebody whom its rules allow could be served now."""
        return not self.waiting_for()

    def waiting_for(self) -> str:
        """What is missing until then; empty when nothing is."""
        for guard in self.guards:
            guard.look()
        return "; ".join(f"{guard.address} waits for {guard.waiting_for}" for guard in self.guards if guard.waiting_for)

    def close(self) -> None:
        """The guards follow nothing any more, and the Unix domain's names are free."""
        files, self._files = self._files, []
        for file in files:
            if isinstance(file, str) and file:  # an abstract name is bytes, and leaves nothing behind
                with contextlib.suppress(OSError):
                    os.unlink(file)  # noqa: PTH108
        for guard in self.guards:
            guard.close()

    def __del__(self) -> None:
        """A server that was never started leaves nothing open."""
        for listener, _ in self._bound:
            listener.close()
