"""Doing something ahead of its need only while it pays: after some times in vain, ever more occasions are let pass."""

from __future__ import annotations

_FORGIVEN = 3  # so many times in vain, one after the other, are no reason to stop: callers come at random
_RAREST = 8  # in the end one occasion in 2 ** _RAREST is tried


class Paying:
    """As native/drive/src/busy.rs has it for threads. Any thread; the counts are only estimates."""

    __slots__ = ("_passes", "_vain")

    def __init__(self) -> None:
        self._vain = 0  # times in a row
        self._passes = 0  # so many occasions are let pass

    def try_it(self) -> bool:
        """Whether to, this time; who does says what came of it (`learn`)."""
        passes = self._passes
        self._passes = max(0, passes - 1)
        return passes == 0

    def learn(self, *, paid: bool) -> None:
        self._vain = 0 if paid else min(self._vain + 1, _FORGIVEN + _RAREST)
        self._passes = (1 << max(0, self._vain - _FORGIVEN)) - 1
