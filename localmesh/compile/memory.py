"""Answers that are remembered, up to a number: what strangers ask for does not fill the memory. Any thread."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

ValueT = TypeVar("ValueT")


class Memory(Generic[ValueT]):
    """Forgets what it has known longest. Two threads that ask for one answer at the same time may both make it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Hashable, ValueT] = {}

    def recall(self, key: Hashable, make: Callable[[], ValueT]) -> ValueT:
        """The answer for the key, made if it is not there."""
        if key in self._kept:
            with suppress(KeyError):  # forgotten just now
                return self._kept[key]
        made = make()
        if len(self._kept) >= self._limit:
            with suppress(KeyError, RuntimeError):  # another thread forgets, too
                del self._kept[next(iter(self._kept))]
        self._kept[key] = made
        return made

    def known(self, key: Hashable) -> ValueT | None:
        """The answer, if it is there."""
        return self._kept.get(key)

    def __len__(self) -> int:
        return len(self._kept)
