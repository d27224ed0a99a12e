"""Between a channel and its resolver, which may be anybody's code: what it raises or tells costs only itself."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from rpc.fork import inherits
from rpc.resolver.schemes import endpoint_of
from rpc.resolver.values import Resolved
from rpc.weakly import weakly

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.resolver.resolver import Resolver
    from rpc.resolver.values import Told
    from xds_client.identity import IdentitySource

_log = logging.getLogger(f"proxyless.{__name__}")
_ASKED = ("start", "close", "resume", "refresh", "waiting_for", "identity", "proxied")


class Guarded:
    """Brings a resolver's news to one channel: one after the other, the newest last, whichever threads tell them.

    Raises TypeError for what is no resolver. Any thread.
    """

    def __init__(self, resolver: Resolver, text: str) -> None:
        """``text``: the target as written."""
        missing = [name for name in _ASKED if not hasattr(resolver, name)]
        if missing or isinstance(resolver, type):
            what = f"has no {', '.join(missing)}" if missing else "is a class: write an object of it"
            raise TypeError(f"{text!r}: its resolver {resolver!r} {what}; inherit from rpc.resolver.Resolver")
        self._text = text
        self._resolver = resolver
        self._use: Callable[[Told], None] | None = None
        self._lock = threading.Lock()
        self._newest: list[Told] = []  # one, or none: it may be anything
        self._telling = False
        self._refused = ""
        self._closed = False
        inherits(self)

    def inherit(self) -> None:
        """In the child of a fork: who held the lock or was at telling is not here, and what it told is the parent's."""
        self._lock = threading.Lock()
        self._telling = False
        self._newest = []

    @property
    def identity(self) -> IdentitySource | None:
        return self._resolver.identity

    @property
    def proxied(self) -> bool:
        return self._resolver.proxied

    def start(self, use: Callable[[Told], None]) -> None:
        """Begin; raises what the resolver raises, for then there is no channel yet."""
        self._use = use
        try:
            self._resolver.start(weakly(self._told))
        except Exception as error:
            self._closed = True
            error.add_note(f"{self._text!r}: raised by its resolver {self._resolver!r} at its start")
            raise

    def resume(self) -> None:
        self._asked("resume", self._resolver.resume)

    def refresh(self) -> None:
        self._asked("refresh", self._resolver.refresh)

    def waiting_for(self) -> str:
        said = self._asked("waiting_for", self._resolver.waiting_for)
        missing = str(said) if said else "its resolver does not say what is missing"
        return f"{missing}; what was told is not used: {self._refused}" if self._refused else missing

    def close(self) -> None:
        if not self._closed:
            self._closed, self._use = True, None
            self._asked("close", self._resolver.close)

    def __del__(self) -> None:
        """Of a channel that was dropped without being closed."""
        if hasattr(self, "_closed"):
            self.close()

    def _asked(self, name: str, method: Callable[[], object]) -> object:
        try:
            return method()
        except Exception:
            _log.exception("%s: %s() of its resolver %r raised", self._text, name, self._resolver)
            return None

    def _told(self, news: Told) -> None:
        """No lock is held while it is used: who comes meanwhile, from within too, leaves it to who is at it."""
        with self._lock:
            self._newest = [news]
            if self._telling:
                return
            self._telling = True
        try:
            while (use := self._use) is not None and (newest := self._next()):
                self._used(use, newest[0])
        except BaseException:
            self._telling = False
            raise

    def _next(self) -> list[Told]:
        with self._lock:
            newest, self._newest = self._newest, []
            self._telling = bool(newest)
            return newest

    def _used(self, use: Callable[[Told], None], news: Told) -> None:
        try:
            if isinstance(news, Resolved) and not news.authority:
                news = replace(news, authority=endpoint_of(self._text))
            use(news)
            self._refused = ""
        except Exception as error:  # of whatever kind: the resolver's thread is not to end by it
            self._refused = f"{type(error).__name__}: {error}"
            told = "what its resolver told is not used, the last good news stay: %s; it was told by %r"
            _log.warning(f"%s: {told}", self._text, self._refused, self._resolver, exc_info=_unexpected(error))


def _unexpected(error: Exception) -> Exception | None:
    return None if isinstance(error, ValueError) else error
