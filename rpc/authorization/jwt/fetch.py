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

LARGEST = 1024 * 1024  # bytes
_PIECE = 64 * 1024


class FetchError(Exception):
    """Why there are no keys."""


def fetch(uri: str, timeout: float, context: ssl.SSLContext) -> bytes:
    """The body of a 200. ``timeout``: for all of it, however slowly it comes. Raises `FetchError`."""
    parts = urlsplit(uri)
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    end = time.monotonic() + timeout
    watchdog = begun_after(timeout, lambda: _shut(connection), "jwks-timeout")
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
        return _body(connection.getresponse(), end)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    finally:
        if watchdog is not None:
            watchdog.cancel()
        connection.close()


def _body(response: http.client.HTTPResponse, end: float) -> bytes:
    if response.status != http.HTTPStatus.OK:
        raise FetchError(f"HTTP {response.status}")  # no redirect leads anywhere
    pieces, size = [], 0
    while piece := response.read1(_PIECE):
        size += len(piece)
        if size > LARGEST:
            raise FetchError(f"more than {LARGEST} bytes")
        if time.monotonic() > end:
            raise FetchError("timed out")
        pieces.append(piece)
    if response.length:
        raise FetchError(f"{response.length} bytes are missing")
    return b"".join(pieces)


def _shut(connection: http.client.HTTPSConnection) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
