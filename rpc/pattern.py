"""Patterns of routes, matched by the engine (RE2's syntax, linear time). Compiled once while any configuration uses it.

Any thread. Python's own `re` must not see them: one header can make it hold the GIL for minutes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from proxyless_native import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_SHOWN = 200
_MOST_SECONDS = 0.05  # of processor time: what so much work takes with the worst pattern known to us
_in_use: WeakValueDictionary[str, Pattern] = WeakValueDictionary()


class InvalidPatternError(ValueError):
    """A regular expression of a route does not compile."""


class TextTooLongError(ValueError):
    """Paths and headers are longer than patterns are matched with: whether they match is not known."""


class PatternWork:
    """What the patterns of all routes have cost one request: together no more than one match may.

    Work is bytes of text times bytes of program, which only patterns made for it cost in full: the usual one costs a
    hundredth. So what is more than the limit goes on while the processor time that it took is within `_MOST_SECONDS`.
    """

    __slots__ = ("_since", "_work")
    _since: float
    _work: int  # 0 at first; set by who inherits, as a call to be made for it is what ordinary routing would feel

    def take(self, work: int) -> None:
        """Before a match of so much work. Raises `TextTooLongError` when it could be too much."""
        before, self._work = self._work, self._work + work
        if not before:
            self._since = time.thread_time()
        elif self._work > Pattern.MOST_WORK:
            spent = time.thread_time() - self._since
            if spent + work * _MOST_SECONDS / Pattern.MOST_WORK > _MOST_SECONDS:
                raise TextTooLongError(
                    f"the path and headers are too long for the routes' patterns: {spent * 1000:.0f} ms are spent, and "
                    f"the next could take more than is left of {_MOST_SECONDS * 1000:.0f} ms"
                )


def pattern_match(source: str) -> Callable[[str, PatternWork], bool]:
    """Whether a whole text matches; raises `InvalidPatternError` here and `TextTooLongError` there."""
    pattern = _in_use.get(source)
    if pattern is None:
        try:
            pattern = _in_use[source] = Pattern(source)
        except ValueError as error:
            shown = repr(source if len(source) <= _LONGEST_SHOWN else f"{source[:_LONGEST_SHOWN]}...")
            raise InvalidPatternError(f"{shown} is no regular expression: {error}") from error
    fullmatch, size = pattern.fullmatch, pattern.size

    def matches(text: str, spent: PatternWork) -> bool:
        length = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
        spent.take((length + 1) * size)  # its end is a step, too
        try:
            return fullmatch(text)
        except ValueError as error:
            raise TextTooLongError(str(error)) from error

    return matches
