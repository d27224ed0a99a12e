"""Notices changes in a folder, on a thread of its own, which nothing but `stop` ends.

The system tells of most changes at once. Of some it does not: the folder itself replaced, targets of symbolic links,
network file systems, no watches left. So the folder is looked at now and then too, at a small part of the time.
"""

from __future__ import annotations

import logging
import os
import threading
from time import monotonic
from typing import TYPE_CHECKING

from watchfiles import watch

from localmesh.config.text import MAX_ENTRIES
from localmesh.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

log = logging.getLogger("proxyless.localmesh")

_QUIET_MS = 50  # a change is told once nothing changed for so long,
_LATEST_MS = 400  # or after so long at the latest
_TICK_MS = 200
LOOK_SECONDS = 1.0  # between two looks,
_LOOK_SHARE = 20  # and so many times what a look has taken


class FolderWatch:
    """``changed`` is called for each change, once at the start, and again and again until it says that it was well."""

    def __init__(self, folder: Path, changed: Callable[[], bool]) -> None:
        self._folder = folder
        self._changed = changed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: object = None
        self._is_well = False
        self._next_look = 0.0
        self._said: dict[str, str] = {}  # what is wrong at the moment, each said once

    def start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name="localmesh-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _run(self, stop: threading.Event) -> None:
        self._seen = None  # what changed between the start and the watch is not missed
        while not stop.is_set():
            try:
                self._follow(stop)
            except Exception as error:  # the folder is gone, the system has no watches left, ...
                reason = f"changes cannot be watched ({error}): it is looked at every {LOOK_SECONDS:g} s instead"
                self._complain("watching", reason)
                stop.wait(LOOK_SECONDS)
            self._look()

    def _follow(self, stop: threading.Event) -> None:
        """Until told to end, or the folder is another one."""
        identity = _identity(self._folder)
        for changes in watch(
            self._folder,
            stop_event=stop,
            step=_QUIET_MS,
            debounce=_LATEST_MS,
            rust_timeout=_TICK_MS,
            raise_interrupt=False,
            watch_filter=None,
            yield_on_timeout=True,
        ):
            if stop.is_set():
                return
            self._said.pop("watching", None)
            if changes:
                self._tell()
            self._look()
            if _identity(self._folder) != identity:
                return

    def _look(self) -> None:
        """Tell what the system did not."""
        began = monotonic()
        if began < self._next_look:
            return
        seen = _fingerprint(self._folder)
        if seen != self._seen or not self._is_well:
            self._seen = seen
            self._tell()
        took = monotonic() - began
        self._next_look = monotonic() + max(LOOK_SECONDS, _LOOK_SHARE * took)

    def _tell(self) -> None:
        try:
            self._is_well = self._changed()
            self._said.pop("taking over", None)
        except Exception as error:
            self._is_well = False
            reason = f"a change was not taken over ({error!r:.200}): what was before stays, and it is tried again"
            if self._complain("taking over", reason):
                log.debug("%s", self._folder, exc_info=True)

    def _complain(self, about: str, reason: str) -> bool:
        if self._said.get(about) == reason:
            return False
        self._said[about] = reason
        log.error("%s: %s", printable(str(self._folder)), printable(reason))
        return True


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _fingerprint(folder: Path) -> object:
    """Changes with every change that can be seen without reading."""
    return hash(tuple(_stamps(folder)))


def _stamps(folder: Path) -> Iterator[tuple[object, ...]]:
    entries = 0
    yield _stamp(str(folder))  # which may be one file
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            entries += 1
            if entries > MAX_ENTRIES:
                return
            yield _stamp(os.path.join(place, name))  # noqa: PTH118  # no Path for each of very many


def _stamp(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116  # the same
    except OSError as error:
        return path, error.errno
    return path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode
