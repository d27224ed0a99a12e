"""Notices changes in the folder, on a thread of its own."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from watchfiles import watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_QUIET_MS = 50  # a change is told once nothing changed for so long,
_LATEST_MS = 400  # or after so long at the latest


class FolderWatch:
    def __init__(self, folder: Path, changed: Callable[[], None]) -> None:
        self._folder = folder
        self._changed = changed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

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
        changes = watch(
            self._folder,
            stop_event=stop,
            step=_QUIET_MS,
            debounce=_LATEST_MS,
            rust_timeout=200,
            raise_interrupt=False,
            watch_filter=None,
            yield_on_timeout=True,
        )
        # the first round is always told: what changed between the start and the watch is not missed
        told = False
        for change in changes:
            if stop.is_set():
                return
            if change or not told:
                told = True
                self._changed()
