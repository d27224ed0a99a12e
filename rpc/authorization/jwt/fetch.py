"""One key set, fetched by HTTPS: verified, bounded in time and size, never redirected. Blocks."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from xds_client.threads import begun_after

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

LARGEST = 1024 * 1024  # bytes
_PIECE = 64 * 1024


class FetchError(Exception):
    """Why there are no keys."""


def fetch(uri: str, timeout: float, context: ssl.SSLContext) -> bytes:
    """The body of a 200. ``timeout``: for all of it, however slowly it comes. Raises `FetchError`."""
    parts = urlsplit(uri)
    end = time.monotonic() + timeout
    connection: http.client.HTTPSConnection | None = None
    watchdog = None
    try:
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
        connection.connect()
        watchdog = begun_after(max(0.0, end - time.monotonic()), _shutting(connection.sock), "jwks-timeout")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
        with connection.getresponse() as response:
            return _body(response, end)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    finally:
        if watchdog is not None:
            watchdog.cancel()
        if connection is not None:
            connection.close()


def _body(response: http.client.HTTPResponse, end: float) -> bytes:
    if response.status != http.HTTPStatus.OK:
        raise FetchError(f"HTTP {response.status}")  # no redirect leads anywhere
    pieces, size = [], 0
    while piece := response.read1(_PIECE):
        size += len(piece)
        if size > LARGEST:
            raise FetchError(f"more than {LARGEST} bytes")
        pieces.append(piece)
    if time.monotonic() > end:
        raise FetchError("timed out")  # the connection was shut, which looks as if the answer had ended
    if response.length:
        raise FetchError(f"{response.length} bytes are missing")
    return b"".join(pieces)


def _shutting(connection: socket.socket) -> Callable[[], None]:
    def shut() -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    return shut
