"""One HTTP/1.1 exchange, bounded in time and size. It blocks, but for `Exchange.give_up`, which any thread may call."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence


class Answer(NamedTuple):
    """Names of headers in small letters."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class ExchangeError(Exception):
    """Why there is no answer."""


class Exchange:
    """``timeout``: seconds of each wait, `give_up` ends them all. ``largest``: bytes of a body. ``tls``: by HTTPS."""

    def __init__(self, timeout: float, largest: int, tls: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        self._largest = largest
        self._tls = tls
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._given_up = False

    def run(self, address: tuple[str, int], method: str, path: str, headers: Sequence[tuple[str, str]]) -> Answer:
        """Raises `ExchangeError`, and OSError where nobody answers the connection."""
        connection = self._connection(*address)
        try:
            connection.connect()
            with self._lock:
                if self._given_up:
                    raise ExchangeError("given up")
                self._socket = connection.sock
            return self._answer(connection, method, path, headers)
        except (http.client.HTTPException, ValueError) as error:
            raise ExchangeError(f"{type(error).__name__}: {error}") from error
        finally:
            with self._lock:
                self._socket = None
            connection.close()

    def _connection(self, host: str, port: int) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(host, port, timeout=self._timeout)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls)

    def give_up(self) -> None:
        """It fails soon, whatever it waits for."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Past TLS, whose state is the reader's.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _answer(
        self, connection: http.client.HTTPConnection, method: str, path: str, headers: Sequence[tuple[str, str]]
    ) -> Answer:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode())
        connection.putheader("Connection", "close")
        try:
            connection.endheaders()
            response = connection.getresponse()
            body = response.read(self._largest + 1)
        except OSError as error:
            raise ExchangeError(f"{type(error).__name__}: {error}") from error
        if self._given_up:  # the connection was shut, which looks as if the answer had ended
            raise ExchangeError("timed out")
        if len(body) > self._largest:
            raise ExchangeError(f"its body has more than {self._largest} bytes")
        if response.length:
            raise ExchangeError(f"{response.length} bytes of its body are missing")
        return Answer(response.status, [(name.lower(), value) for name, value in response.getheaders()], body)
