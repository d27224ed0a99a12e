"""A connected socket to an address: TCP, a Unix domain, or through an HTTP proxy; blocking, and in an event loop.

The result is a bare descriptor for the engine. An address is a name, an IP address, ``unix:path`` or
``unix-abstract:name``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import selectors
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from rpc.transport.proxy import HEAD_LIMIT, ProxyError
from rpc.workers import LOOK_UPS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rpc.transport.proxy import Proxy
    from rpc.transport.subchannel import SubchannelKey

    _Info = tuple[int, int, int, str, Any]  # of getaddrinfo

ATTEMPT_DELAY = 0.25  # seconds until the next address of a name is tried, too (RFC 8305, section 5; gRFC A61)


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


def connect(key: SubchannelKey, proxy: Proxy | None, until: float) -> int:
    """Connect until then (monotonic), whichever address of a name is the first; raises OSError.

    Only the look-up of a name takes the time that the system's resolver allows it.
    """
    path = unix_path(key.address)
    if path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _kept_if_whole(sock):
            sock.settimeout(_left(until))
            sock.connect(path)
            return sock.detach()
    host, port = (key.address, key.port) if proxy is None else (proxy.host, proxy.port)
    with _named(proxy):
        made = _race(_by_turns(look_up(host, port)), until)
    with _kept_if_whole(made) as sock:
        if proxy is not None:
            with _answering(proxy):
                sock.settimeout(_left(until))
                sock.sendall(proxy.request(key))
                head = b""
                while not proxy.accepted(head):
                    sock.settimeout(_left(until))
                    head += _some(sock.recv(1), head, proxy)
        return sock.detach()


def look_up(host: str, port: int) -> Sequence[_Info]:
    """As the system does; raises OSError. Localhost is this machine by both families, whatever it says (RFC 6761)."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        here: list[_Info] = [
            (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)),
        ]
        return here
    with _no_name_is_an_os_error(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@contextlib.contextmanager
def _named(proxy: Proxy | None) -> Iterator[None]:
    """What fails on the way to a proxy is the proxy's, and not the peer's."""
    try:
        yield
    except OSError as error:
        if proxy is None:
            raise
        number = error.errno or 0  # a look-up's are negative
        why = os.strerror(number) if number > 0 else error.strerror or str(error) or "no answer in time"
        raise ProxyError(f"the HTTP proxy {proxy} cannot be reached: {why}") from error


@contextlib.contextmanager
def _answering(proxy: Proxy) -> Iterator[None]:
    """It was reached, and is to say yes or no."""
    try:
        yield
    except TimeoutError as error:
        raise ProxyError(f"the HTTP proxy {proxy} gave no answer in time") from error


@contextlib.contextmanager
def _no_name_is_an_os_error(host: str) -> Iterator[None]:
    """Python says UnicodeError of names with an empty or a long label."""
    try:
        yield
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"{host!r} is no name: {error}") from None


def _by_turns(found: Sequence[_Info]) -> list[_Info]:
    """IPv6 and IPv4 by turns, beginning with the resolver's first (RFC 8305, section 4; gRFC A61)."""
    families: dict[int, list[_Info]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*families.values())
    return [info for one_round in rounds for info in one_round if info is not None]


def _race(candidates: list[_Info], until: float) -> socket.socket:
    """The first that connects. Attempts begin a while after one another, or as soon as the one before has failed."""
    error: OSError = OSError("the name has no address")
    waiting = iter(candidates)
    with selectors.DefaultSelector() as trying:
        try:
            while True:
                info = next(waiting, None)
                if info is not None:
                    try:
                        trying.register(_begun(info), selectors.EVENT_WRITE)
                    except OSError as failure:  # of an address family that the machine has not, say
                        error = failure
                        continue
                elif not trying.get_map():
                    raise error
                go_on_at = until if info is None else min(until, time.monotonic() + ATTEMPT_DELAY)
                while trying.get_map() and (left := go_on_at - time.monotonic()) > 0:
                    for ready, _ in trying.select(left):
                        sock = cast("socket.socket", ready.fileobj)
                        trying.unregister(sock)
                        problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if problem == 0:
                            return sock
                        sock.close()
                        error, go_on_at = OSError(problem, os.strerror(problem)), 0.0
                _left(until)
        finally:
            for ready in tuple(trying.get_map().values()):
                cast("socket.socket", ready.fileobj).close()


def _begun(info: _Info) -> socket.socket:
    family, kind, protocol, _, address = info
    sock = socket.socket(family, kind, protocol)
    with _kept_if_whole(sock):
        sock.setblocking(False)
        problem = sock.connect_ex(address)
        if problem not in {0, errno.EINPROGRESS}:
            raise OSError(problem, os.strerror(problem))
    return sock


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


async def connect_in_loop(key: SubchannelKey, proxy: Proxy | None, until: float) -> int:
    """The same without blocking the loop, whose time ``until`` is."""
    loop = asyncio.get_running_loop()
    path = unix_path(key.address)
    if path is not None:
        async with asyncio.timeout_at(until):
            return (await _connected(socket.AF_UNIX, 0, path)).detach()
    host, port = (key.address, key.port) if proxy is None else (proxy.host, proxy.port)
    with _named(proxy):
        async with asyncio.timeout_at(until):
            sock = await _race_in_loop(_by_turns(await _addresses(host, port)))
    with _kept_if_whole(sock):
        if proxy is not None:
            with _answering(proxy):
                async with asyncio.timeout_at(until):
                    await loop.sock_sendall(sock, proxy.request(key))
                    head = b""
                    while not proxy.accepted(head):
                        head += _some(await loop.sock_recv(sock, 1), head, proxy)
        return sock.detach()


async def _addresses(host: str, port: int) -> Sequence[_Info]:
    """An IP address is no name: nothing is looked up, and no thread needed."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return await LOOK_UPS.run(look_up, host, port)


async def _race_in_loop(candidates: list[_Info]) -> socket.socket:
    error: BaseException = OSError("the name has no address")
    waiting = iter(candidates)
    trying: set[asyncio.Task[socket.socket]] = set()
    try:
        while True:
            info = next(waiting, None)
            if info is not None:
                trying.add(asyncio.create_task(_connected(info[0], info[2], info[4])))
            elif not trying:
                raise error
            done, trying = await asyncio.wait(
                trying, timeout=None if info is None else ATTEMPT_DELAY, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                failure = task.exception()
                if failure is None:
                    trying |= done - {task}
                    return task.result()
                error = failure
    finally:
        for task in trying:
            task.add_done_callback(_close_late)
            task.cancel()


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """It came second."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connected(family: int, protocol: int, address: object) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM, protocol)
    with _kept_if_whole(sock):
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)  # type: ignore[arg-type]  # a path is one, too
    return sock
