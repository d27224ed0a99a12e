"""One key set, fetched by HTTPS: verified, bounded in time and size, never redirected. Blocks."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rpc.authorization.exchange import Exchange, ExchangeError
from xds_client.threads import begun_after

if TYPE_CHECKING:
    import ssl

LARGEST = 1024 * 1024  # bytes
_HTTPS = 443


class FetchError(Exception):
    """Why there are no keys."""


def fetch(uri: str, timeout: float, context: ssl.SSLContext) -> bytes:
    """The body of a 200. ``timeout``: for all of it, however slowly it comes. Raises `FetchError`."""
    parts = urlsplit(uri)
    exchange = Exchange(timeout, LARGEST, context)
    watchdog = begun_after(timeout, exchange.give_up, "jwks-timeout")
    headers = [("Host", parts.netloc.rpartition("@")[2]), ("Accept", "application/json")]
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = exchange.run((parts.hostname or "", parts.port or _HTTPS), "GET", target, headers)
    except (OSError, ExchangeError, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    finally:
        if watchdog is not None:
            watchdog.cancel()
    if answer.status != http.HTTPStatus.OK:
        raise FetchError(f"HTTP {answer.status}")  # no redirect leads anywhere
    return answer.body
