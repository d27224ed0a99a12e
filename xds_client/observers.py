"""Who wants to hear about what: the observer map under its read-write lock, and the handles given to users.

Any thread adds and closes; only the exchanger's thread delivers, so an observer sees values in order and one at a time.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(f"proxyless.{__name__}")

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


class ObserverHandle:
    """One observation, given to whoever started it. `close` (or leaving a ``with`` block) ends it.

    >>> with rpc.mesh().observe_target(Target.parse("xds:///greeter.demo:9080"), print) as handle:
    ...     handle.closed
    False
    >>> handle.closed
    True
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self.closed = False
        self._on_close = on_close

    def close(self) -> None:
        """Hear nothing any more, except for a delivery that is already under way on the exchanger's thread."""
        if not self.closed:
            self.closed = True
            self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Observer(Generic[K, V]):
    """Whom to call about what, and what was told last."""

    def __init__(self, key: K, callback: Callable[[V], object], on_close: Callable[[Observer[K, V]], None]) -> None:
        self.key = key
        self.handle = ObserverHandle(lambda: on_close(self))
        self._callback = callback
        self._last: V | None = None

    def deliver(self, value: V) -> None:
        """Call back, unless this very value was the last. Exchanger's thread only."""
        if self.handle.closed or value is self._last:
            return
        self._last = value
        try:
            self._callback(value)
        except Exception:  # one observer's bug must not cost the others their news, nor the process its stream
            logger.exception("observer %r of %s failed; it stays registered", self._callback, self.key)


class ObserverMap(Generic[K, V]):
    """Observers by what they observe. The lock guards this structure only and is never held while an observer runs."""

    def __init__(self) -> None:
        self._lock = ReadWriteLock()
        self._observers: dict[K, tuple[Observer[K, V], ...]] = {}

    def inherit(self) -> None:
        """In the child of a fork: the observers stay, but for those that the parent was about to remove."""
        self._lock = ReadWriteLock()
        kept = {key: tuple(o for o in observers if not o.handle.closed) for key, observers in self._observers.items()}
        self._observers = {key: observers for key, observers in kept.items() if observers}

    def add(self, observer: Observer[K, V]) -> None:
        with self._lock.write():
            self._observers[observer.key] = (*self._observers.get(observer.key, ()), observer)

    def remove(self, observer: Observer[K, V]) -> None:
        with self._lock.write():
            left = tuple(o for o in self._observers.get(observer.key, ()) if o is not observer)
            if left:
                self._observers[observer.key] = left
            else:
                self._observers.pop(observer.key, None)

    def keys(self) -> frozenset[K]:
        """What anybody wants to hear of; who has closed its handle does not, though it is removed a moment later."""
        with self._lock.read():
            present = tuple(self._observers.items())
        return frozenset(key for key, observers in present if any(not o.handle.closed for o in observers))

    def notify(self, key: K, value: V) -> None:
        with self._lock.read():
            observers = self._observers.get(key, ())
        for observer in observers:
            observer.deliver(value)
