"""Whether a request's headers, and what filters found out about it, are as the mesh asks. Compiled once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.header_match import Headers, header_match, text_match
from rpc.pattern import InvalidPatternError
from xds_client.model import (
    AnyValueMatch,
    BoolMatch,
    DoubleMatch,
    ListMatch,
    NullMatch,
    PresentMatch,
    StringMatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rpc.authorization.request import Request
    from xds_client.model import HeaderMatch, MetadataMatch, StringListMatch, ValueMatch

_ABSENT = object()


class Looked(Headers):
    """A request's headers as texts, each byte a character."""

    __slots__ = ("_request",)

    def __init__(self, request: Request | None = None) -> None:
        self._work = 0
        self._request = request

    def values(self, name: str) -> list[str]:
        return [] if self._request is None else [value.decode("latin-1") for value in self._request.values(name)]


def headers_match(matches: Iterable[HeaderMatch]) -> Callable[[Request], bool]:
    """Whether all of these hold. Raises `InvalidPatternError`; the answer raises `TextTooLongError`."""
    compiled = tuple(header_match(match) for match in matches)

    def hold(request: Request) -> bool:
        looked = Looked(request)
        return all(match(looked) for match in compiled)

    return hold


def text_matches(match: StringMatch) -> Callable[[str], bool]:
    """Raises `InvalidPatternError`; the answer raises `TextTooLongError`."""
    compiled = text_match(match)
    return lambda text: compiled(text, Looked())


def names_match(listed: StringListMatch | None) -> Callable[[str], bool] | None:
    """Whether one of these is a header's name; None: nothing is said. Raises `InvalidPatternError`."""
    if listed is None:
        return None
    compiled = tuple(map(text_matches, listed.patterns))
    return lambda name: any(pattern(name) for pattern in compiled)


def metadata_match(match: MetadataMatch) -> Callable[[Request], bool]:
    """Whether a filter before this one found that. Raises `InvalidPatternError`."""
    value = _value(match.value)

    def found(request: Request) -> bool:
        there: object = request.metadata.get(match.filter, _ABSENT)
        for key in match.path:
            there = there.get(key, _ABSENT) if isinstance(there, dict) else _ABSENT
        return value(there) != match.invert

    return found


def _value(match: ValueMatch) -> Callable[[object], bool]:
    match match:
        case StringMatch():
            text = text_matches(match)
            return lambda found: isinstance(found, str) and text(found)
        case PresentMatch(present):
            return lambda found: (found is not _ABSENT) == present
        case NullMatch() | BoolMatch():
            constant = match.value if isinstance(match, BoolMatch) else None
            return lambda found: found is constant
        case DoubleMatch(start, end):
            return lambda found: (
                isinstance(found, int | float)
                and not isinstance(found, bool)
                and (found == start if start == end else start <= found < end)
            )
        case ListMatch(one_of):
            entry = _value(one_of)
            return lambda found: isinstance(found, list | tuple) and any(map(entry, found))
        case AnyValueMatch(values):
            alternatives = tuple(map(_value, values))
            return lambda found: any(one(found) for one in alternatives)


__all__ = ["InvalidPatternError", "Looked", "headers_match", "metadata_match", "names_match", "text_matches"]
