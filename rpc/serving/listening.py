"""Binding server addresses, as grpc writes them: ``host:port``, ``[::]:port``, port 0 for a free one."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

from rpc import channelz_registry
from rpc.security import SecuredPort
from rpc.transport.sockets import look_up, unix_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rpc._native import Reactor
    from rpc.options import ServerOptions
    from rpc.security import ServerCredentials
    from xds_client import PilotExchanger

_BACKLOG = 1024
_MAX_PORT = 65535
_NAMED_PORTS = {"http": "80", "https": "443"}  # the two that grpcio knows
_ANY = {"0.0.0.0", "::", "::ffff:0.0.0.0"}  # noqa: S104 - it is what users write
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL}
_TRIES = 10  # to find a port that is free at all addresses of a name


def bind(address: str, *, reuse_port: bool) -> list[socket.socket]:
    """Listening sockets, as grpcio has them before the start too, all of one port; RuntimeError names the address.

    A name is bound at each of its addresses, and one that cannot be had is left out while there are others. Every
    address (``0.0.0.0``, ``[::]``) means those of IPv6 and IPv4, of IPv4 alone where the system has no others.
    """
    path = unix_path(_without_slashes(address))
    try:
        return _bind(*_host_and_port(address), reuse_port=reuse_port) if path is None else [_bind_unix(path)]
    except (OSError, ValueError) as error:
        raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error


def _without_slashes(address: str) -> str:
    scheme, _, rest = address.partition(":")
    return f"{scheme}:{rest[2:]}" if scheme == "unix" and rest.startswith("///") else address


def _bind_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _kept_if_whole(listener):
        with contextlib.suppress(FileNotFoundError):
            if not path.startswith("\0") and stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116
                os.unlink(path)  # noqa: PTH108 - what a server left behind; grpcio takes its place, too
        listener.bind(path)
        listener.listen(_BACKLOG)
    return listener


@contextlib.contextmanager
def _kept_if_whole(listener: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        listener.close()
        raise


def _host_and_port(address: str) -> tuple[str, int]:
    """Without a port it is that of HTTPS, as in grpcio. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]") or (":" in host and not host.startswith("[")):  # the last is of IPv6, bare
        host, port = address, "https"
    port = _NAMED_PORTS.get(port, port)
    if not address or not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ValueError("it is written host:port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bind(host: str, port: int, *, reuse_port: bool) -> list[socket.socket]:
    found = look_up(host or "::", port)
    names = list(dict.fromkeys((family, address) for family, *_, address in found))
    if any(name[0] in _ANY for _, name in names):
        return [_bind_any(port, reuse_port=reuse_port)]
    tries = _TRIES
    while True:
        listeners, problem = _bind_all(names, port, reuse_port=reuse_port)
        if problem is not None and not listeners:
            raise problem
        tries -= 1
        # A free port of one address was not free at another.
        taken = port == 0 and problem is not None and problem.errno == errno.EADDRINUSE
        if not taken or tries == 0:
            return listeners
        _close(listeners)


def _bind_all(
    names: Sequence[tuple[int, Any]], port: int, *, reuse_port: bool
) -> tuple[list[socket.socket], OSError | None]:
    """What could be bound, and the last reason why something could not. Port 0: what the first gets."""
    listeners: list[socket.socket] = []
    problem: OSError | None = None
    for family, name in names:
        try:
            listener = _listening(family, (name[0], port, *name[2:]), reuse_port=reuse_port)
        except OSError as error:
            problem = error
        else:
            port = listener.getsockname()[1]
            listeners.append(listener)
    return listeners, problem


def _bind_any(port: int, *, reuse_port: bool) -> socket.socket:
    try:
        return _listening(socket.AF_INET6, ("::", port), reuse_port=reuse_port)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _listening(socket.AF_INET, ("0.0.0.0", port), reuse_port=reuse_port)  # noqa: S104 - as asked


def _listening(family: int, name: tuple[Any, ...], *, reuse_port: bool) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    with _kept_if_whole(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(name)
        listener.listen(_BACKLOG)
    return listener


def _engine_name(listener: socket.socket) -> str:
    """Its address as the engine writes those of connections."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}" if isinstance(name, str) else f"unix-abstract:{name[1:].decode(errors='replace')}"
    host, port = name[:2]
    return f"ipv6:%5B{host}%5D:{port}" if listener.family == socket.AF_INET6 else f"ipv4:{host}:{port}"


def _close(listeners: Iterable[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


class Listeners:
    """A server's listening sockets until it starts; then they are the engine's."""

    def __init__(self, options: ServerOptions, mesh: PilotExchanger | None) -> None:
        self._options = options
        self._mesh = mesh
        self._bound: list[tuple[list[socket.socket], SecuredPort | None]] = []
        self.secured_ports: list[SecuredPort] = []
        self._files: list[str | bytes] = []
        self.listening: dict[int, str] = {}  # by number (`rpc.channelz_registry`)

    def add(self, address: str, credentials: ServerCredentials | None = None) -> int:
        """Bind; returns the port. Raises RuntimeError naming the address. Without ``credentials`` it is plaintext."""
        listeners = bind(address, reuse_port=self._options.reuse_port)
        check = getattr(credentials, "check", None)  # what is wrong from the beginning is told at once
        if check is not None:
            try:
                for listener in listeners:
                    check(listener)
            except OSError as error:
                _close(listeners)
                raise RuntimeError(f"Failed to bind to address {address!r}: {error}") from error
        port: int = 1  # what grpcio says of ports without a number
        if listeners[0].family == socket.AF_UNIX:
            self._files.append(listeners[0].getsockname())
        else:
            port = listeners[0].getsockname()[1]
        secured_port = None
        if credentials is not None:
            secured_port = SecuredPort(credentials, f"{address} (port {port})", port, self._mesh)
        self._bound.append((listeners, secured_port))
        return port

    def start(self, reactor: Reactor) -> None:
        """Hand the descriptors to the engine, which accepts."""
        bound, self._bound = self._bound, []
        for listeners, secured_port in bound:
            port_policy = None
            if secured_port is not None:
                secured_port.start(reactor)
                self.secured_ports.append(secured_port)
                port_policy = secured_port.policy
            for listener in listeners:
                self.listening = {**self.listening, channelz_registry.number(): _engine_name(listener)}
                reactor.listen(listener.detach(), self._options.transport_config(), port_policy)

    @property
    def ready(self) -> bool:
        """At every port somebody whom its rules allow could be served now."""
        return not self.waiting_for()

    def waiting_for(self) -> str:
        """What is missing until then; empty when nothing is."""
        for secured_port in self.secured_ports:
            secured_port.look()
        return "; ".join(f"{one.address} waits for {one.waiting_for}" for one in self.secured_ports if one.waiting_for)

    def close(self) -> None:
        """Secured ports follow nothing any more, ports that were never served and the Unix domain's names are free."""
        self._unbind()
        self.listening = {}
        files, self._files = self._files, []
        for file in files:
            if isinstance(file, str) and file:  # an abstract name is bytes, and leaves nothing behind
                with contextlib.suppress(OSError):
                    os.unlink(file)  # noqa: PTH108
        for secured_port in self.secured_ports:
            secured_port.close()

    def __del__(self) -> None:
        """A server that was never started leaves nothing open."""
        self._unbind()

    def _unbind(self) -> None:
        bound, self._bound = self._bound, []
        for listeners, _ in bound:
            _close(listeners)
