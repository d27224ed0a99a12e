"""One HTTP/1.1 exchange, bounded in time and size. It blocks, but for `Exchange.give_up`, which any thread may call."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 64 * 1024  # bytes of a body


class Answer(NamedTuple):
    """Names of headers in small letters."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class ExchangeError(Exception):
    """Why there is no answer."""


class Exchange:
    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False

    def run(self, address: tuple[str, int], method: str, path: str, headers: Sequence[tuple[str, str]]) -> Answer:
        """Raises `ExchangeError`, and OSError where nobody answers the connection."""
        connection = http.client.HTTPConnection(*address, timeout=self._timeout)
        try:
            connection.connect()
            with self._lock:
                if self._given_up:
                    raise ExchangeError("given up")
                self._socket = connection.sock
            return _answer(connection, method, path, headers)
        except (http.client.HTTPException, ValueError) as error:
            raise ExchangeError(f"{type(error).__name__}: {error}") from error
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def give_up(self) -> None:
        """It fails soon, whatever it waits for."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Sequence[tuple[str, str]]
) -> Answer:
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value.encode())
    connection.putheader("Connection", "close")
    connection.putheader("Content-Length", "0")
    try:
        connection.endheaders()
        response = connection.getresponse()
        body = response.read(LARGEST + 1)
    except OSError as error:
        raise ExchangeError(f"{type(error).__name__}: {error}") from error
    if len(body) > LARGEST:
        raise ExchangeError(f"its body has more than {LARGEST} bytes")
    if response.length:
        raise ExchangeError(f"{response.length} bytes of its body are missing")
    return Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)
