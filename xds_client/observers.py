"""Who wants to hear about what: the observer map under its read-write lock, and the handles given out.

Any thread adds and closes; only the exchanger's thread delivers, so an observer sees values in order and one at a time.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


class ReadWriteLock:
    """Many readers or one writer; a waiting writer goes before new readers. Not reentrant: hold it for a copy only."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers_waiting = 0
        self._writing = False

    @contextmanager
    def read(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        with self._changed:
            self._writers_waiting += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._writers_waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


class ObserverHandle(Generic[K, V]):
    """One observation. `close` (or leaving a ``with`` block) ends it; a delivery under way may still finish."""

    def __init__(
        self, key: K, callback: Callable[[V], object], on_close: Callable[[ObserverHandle[K, V]], None]
    ) -> None:
        self.key = key
        self.closed = False
        self._callback = callback
        self._on_close = on_close
        self._last: V | None = None

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._on_close(self)

    def deliver(self, value: V) -> None:
        """Call the observer, unless this very value was its last. Exchanger's thread only."""
        if self.closed or value is self._last:
            return
        self._last = value
        try:
            self._callback(value)
        except Exception:  # one observer's bug must not cost the others their news, nor the process its stream
            logger.exception("observer %r of %s failed; it stays registered", self._callback, self.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ObserverMap(Generic[K, V]):
    """Handles by what they observe. The lock guards this structure only and is never held while an observer runs."""

    def __init__(self) -> None:
        self._lock = ReadWriteLock()
        self._handles: dict[K, tuple[ObserverHandle[K, V], ...]] = {}

    def add(self, handle: ObserverHandle[K, V]) -> None:
        with self._lock.write():
            self._handles[handle.key] = (*self._handles.get(handle.key, ()), handle)

    def remove(self, handle: ObserverHandle[K, V]) -> None:
        with self._lock.write():
            left = tuple(h for h in self._handles.get(handle.key, ()) if h is not handle)
            if left:
                self._handles[handle.key] = left
            else:
                self._handles.pop(handle.key, None)

    def keys(self) -> frozenset[K]:
        with self._lock.read():
            return frozenset(self._handles)

    def notify(self, key: K, value: V) -> None:
        with self._lock.read():
            handles = self._handles.get(key, ())
        for handle in handles:
            handle.deliver(value)
