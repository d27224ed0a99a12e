"""Keys of the issuers that the folder names: fetched ahead, kept while they cannot be, told of when they change.

A few threads, which live while there is an issuer to ask, fetch what is due; any thread may call. Nobody waits for
them: what is not known yet is not there.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from localmesh.errors import printable
from localmesh.jwks.fetch import NoKeys, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localmesh.compile.jwt_authn import KeySource

log = logging.getLogger("proxyless.localmesh")

_THREADS = 4  # issuers that hang hold up nobody but who comes behind so many of them


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from one fetch to the next: when it went well, after the first failure, twice as long after each more.

    istiod's: twenty minutes, a second, and a week until keys that cannot be had anew are taken back.
    """

    refresh: float = 20 * 60.0
    retry: float = 1.0
    longest_retry: float = 5 * 60.0
    life: float = 7 * 24 * 3600.0

    def after(self, failures: int) -> float:
        return min(self.retry * 2.0 ** min(failures - 1, 30), self.longest_retry)


USUAL = Times()


@dataclass(slots=True)
class _Entry:
    timeout: float
    due: float
    text: str = ""  # the last good one
    since: float = 0.0
    failures: int = 0
    said: str = ""  # what went wrong last
    is_busy: bool = False


@dataclass(slots=True)
class _Crew:
    """The threads of one start; they end by themselves when they are no longer wanted."""

    is_wanted: bool = True
    threads: list[threading.Thread] = field(default_factory=list)


class KeySets:
    """``changed`` is called, from one of its threads, when `known` has become another one."""

    def __init__(self, changed: Callable[[], None], times: Times = USUAL) -> None:
        self._changed = changed
        self._times = times
        self._condition = threading.Condition()
        self._entries: dict[KeySource, _Entry] = {}
        self._crew: _Crew | None = None

    @property
    def known(self) -> dict[KeySource, str]:
        with self._condition:
            return {source: entry.text for source, entry in self._entries.items() if entry.text}

    def want(self, sources: Mapping[KeySource, float]) -> None:
        """From now on these, with how many seconds each may be waited for, and no others. New ones are due at once."""
        with self._condition:
            for source in self._entries.keys() - sources.keys():
                del self._entries[source]
            for source, timeout in sources.items():
                self._entries.setdefault(source, _Entry(timeout, monotonic())).timeout = timeout
            self._man()
            self._condition.notify_all()

    def start(self) -> None:
        with self._condition:
            if self._crew is None:
                self._crew = _Crew()
            self._man()

    def stop(self) -> None:
        """What is being fetched ends by itself; nobody is told of it."""
        with self._condition:
            if self._crew is not None:
                self._crew.is_wanted = False
            self._crew = None
            self._condition.notify_all()

    def _man(self) -> None:
        crew = self._crew
        if crew is None:
            return
        while len(crew.threads) < min(_THREADS, len(self._entries)):
            name = f"localmesh-jwks-{len(crew.threads)}"
            thread = threading.Thread(target=self._work, args=(crew,), name=name, daemon=True)
            crew.threads.append(thread)
            thread.start()

    def _work(self, crew: _Crew) -> None:
        while (task := self._next(crew)) is not None:
            source, entry = task
            try:
                text, why = fetch(source, entry.timeout), ""
            except NoKeys as error:
                text, why = "", str(error)
            except Exception as error:
                log.exception("the keys of %s", printable(source.issuer or source.uri))
                text, why = "", f"{error!r:.200}"
            if self._settle(entry, source, text, why) and crew.is_wanted:
                try:
                    self._changed()
                except Exception:
                    log.exception("keys were not taken over")

    def _next(self, crew: _Crew) -> tuple[KeySource, _Entry] | None:
        with self._condition:
            while crew.is_wanted:
                idle = [(entry.due, source) for source, entry in self._entries.items() if not entry.is_busy]
                due, source = min(idle, default=(None, None))
                left = None if due is None else due - monotonic()
                if source is not None and left is not None and left <= 0:
                    entry = self._entries[source]
                    entry.is_busy = True
                    return source, entry
                self._condition.wait(left)
        return None

    def _settle(self, entry: _Entry, source: KeySource, text: str, why: str) -> bool:
        """Whether there are other keys now."""
        with self._condition:
            now, before = monotonic(), entry.text
            entry.is_busy = False
            if text:
                entry.text, entry.since, entry.failures = text, now, 0
                entry.due = now + self._times.refresh
            else:
                entry.failures += 1
                entry.due = now + self._times.after(entry.failures)
                if before and now - entry.since > self._times.life:
                    entry.text = ""
            if why and why != entry.said:
                then = "the last ones are still used" if entry.text else "its tokens are refused"
                log.warning("the keys of %s: %s: %s", *map(printable, (source.issuer or source.uri, why, then)))
            entry.said = why
            self._condition.notify_all()
            return entry.text != before and self._entries.get(source) is entry
