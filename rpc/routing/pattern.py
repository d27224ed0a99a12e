"""Patterns of routes, matched by the engine (RE2's syntax, linear time). Compiled once while any configuration uses it.

Any thread. Python's own `re` must not see them: one header can make it hold the GIL for minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from proxyless_native import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_SHOWN = 200
_in_use: WeakValueDictionary[str, Pattern] = WeakValueDictionary()


class InvalidPatternError(ValueError):
    """A regular expression of a route does not compile."""


class TextTooLongError(ValueError):
    """A path or a header is longer than a pattern is matched with: whether it matches is not known."""


def pattern_match(source: str) -> Callable[[str], bool]:
    """Whether a whole text matches; raises `InvalidPatternError` here and `TextTooLongError` there."""
    pattern = _in_use.get(source)
    if pattern is None:
        try:
            pattern = _in_use[source] = Pattern(source)
        except ValueError as error:
            shown = repr(source if len(source) <= _LONGEST_SHOWN else f"{source[:_LONGEST_SHOWN]}...")
            raise InvalidPatternError(f"{shown} is no regular expression: {error}") from error
    fullmatch = pattern.fullmatch

    def matches(text: str) -> bool:
        try:
            return fullmatch(text)
        except ValueError as error:
            raise TextTooLongError(str(error)) from error

    return matches
