"""Key sets that stand somewhere else (``remote_jwks``): fetched ahead of need, off the path of calls.

A set is fetched when the configuration comes, and again shortly before it would be too old. Where that fails, the last
good one stays and is asked for again, less and less often; before the first success tokens are refused at once. One
source per set and process, for as long as a configuration names it: a push does not fetch anew.
"""

from __future__ import annotations

import logging
import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from rpc.authorization.jwt import faults
from rpc.authorization.jwt.fetch import fetch
from rpc.authorization.jwt.keys import read_keys
from rpc.authorization.program import CannotCarryOutError
from rpc.fork import inherits
from rpc.weakly import weakly
from xds_client.backoff import Backoff
from xds_client.threads import begun_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.authorization.jwt.faults import Fault
    from rpc.authorization.jwt.keys import KeySet
    from xds_client.model import RemoteJwks

_log = logging.getLogger(f"proxyless.{__name__}")
_FRESH = 600.0  # seconds, where nothing is said (Envoy's JwksAsyncFetcher)
_AHEAD = 5.0
_TIMEOUT = 5.0
_LONGEST_REASON = 200  # characters
_SLOWEST = 60.0  # seconds from one attempt to the next


class Fetch(Protocol):
    def __call__(self, uri: str, timeout: float, /) -> bytes: ...


def fetch_verified(uri: str, timeout: float) -> bytes:
    """By the system's roots, which SSL_CERT_FILE and SSL_CERT_DIR may name."""
    return fetch(uri, timeout, ssl.create_default_context())


class RemoteKeys:
    """The keys of one place. Any thread may ask; one at a time fetches."""

    def __init__(self, said: RemoteJwks, get: Fetch = fetch_verified) -> None:
        uri = said.http_uri
        if uri is None or urlsplit(uri.uri).scheme != "https" or not urlsplit(uri.uri).hostname:
            shown = uri.uri if uri is not None else ""
            raise CannotCarryOutError(f"keys from {shown!r}: only https is fetched")
        self.uri = uri.uri
        self._timeout = uri.timeout or _TIMEOUT
        fresh = _FRESH if said.cache_duration is None else said.cache_duration
        self._refetch = fresh - _AHEAD if fresh > _AHEAD else fresh
        again = said.async_fetch.failed_refetch_duration if said.async_fetch is not None else None
        self._backoff = Backoff(initial=again or 1.0, most=max(_SLOWEST, again or 0.0), multiplier=2.0)
        self._get = get
        self._current: KeySet | Fault | None = None
        self._text: bytes | None = None
        self.inherit()
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: keys stay, the thread was the parent's."""
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []
        self._timer: threading.Timer | None = None
        self._failures = 0

    @property
    def current(self) -> KeySet | Fault | None:
        if self._timer is None:  # the first who asks, or the system had no thread to give
            self._again_after(0.0)
        return self._current

    def when_known(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._current is None and self._timer is not None:
                self._waiting.append(callback)
                return
        callback()

    def _again_after(self, seconds: float, over: threading.Timer | None = None) -> None:
        """``over``: the timer whose place the next one takes."""
        with self._lock:
            if self._timer is over:
                self._timer = begun_after(seconds, weakly(self._due), f"jwks {self.uri}")

    def _due(self) -> None:
        timer = threading.current_thread()
        wait = self._backoff.after(self._failures)
        try:
            text = self._get(self.uri, self._timeout)
            if text != self._text:  # else what was verified with these keys stays verified
                self._current, self._text = read_keys(text), text
        except Exception as error:  # whatever a server sends costs its own tokens only
            self._failures += 1
            kept = "tokens are refused" if self._text is None else "the last good ones stay"
            why = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]  # a stranger's words are among it
            _log.warning("no keys from %s, %s; asked again in %.0f s: %a", self.uri, kept, wait, why)
            if self._text is None:
                self._current = faults.FETCH_FAILED
        else:
            self._failures, wait = 0, self._refetch
        self._again_after(wait, timer if isinstance(timer, threading.Timer) else None)
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()


_sources: weakref.WeakValueDictionary[RemoteJwks, RemoteKeys] = weakref.WeakValueDictionary()


def remote_keys(said: RemoteJwks) -> RemoteKeys:
    """The process's one source for it; it begins to fetch. Raises `CannotCarryOutError`."""
    found = _sources.get(said)
    if found is None:
        found = _sources[said] = RemoteKeys(said)
    _ = found.current
    return found
