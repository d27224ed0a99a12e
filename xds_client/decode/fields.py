"""What the decoders of all types share: errors that know their place, and the small messages that appear everywhere.

Pure functions. A place is built while a `FieldError` climbs, so a good resource pays nothing for it.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, TypeVar

from google.protobuf.message import DecodeError as WireError
from google.protobuf.unknown_fields import UnknownFieldSet

from proxyless_native import Pattern
from xds_client.model import Labels, StringMatch, StringMatchKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from enum import Enum

T = TypeVar("T")
E = TypeVar("E", bound="Enum")

_LONGEST_SHOWN = 200
_NANOS = 1_000_000_000
_LONGEST = (2**63 - 1) // _NANOS  # seconds: what fits into 64 bits of nanoseconds


class FieldError(Exception):
    """``field`` of the message at hand is not usable. Becomes a `DecodeError` once type and name are known."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def within(self, outer: str) -> Self:
        return type(self)(f"{outer}.{self.field}" if self.field else outer, self.reason)


class UnsupportedError(FieldError):
    """``field`` is good as it is, and this release cannot do what it says: what depends on it must not be used.

    Not the same as malformed, where the last good form stays: that form may be less secure than what is said now.
    """


class TooManyPatternsError(FieldError):
    """The patterns that are only kept are more than this release compiles. Envoy might take them."""


def unknown_field(message: Any) -> str | None:
    """Where a later Envoy's field is said that our protobuf does not know, as the message's path and its number."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        return f"field {unknown[0].field_number}"
    for field, value in message.ListFields():
        for place, inner in _messages_in(field, value):
            if (found := unknown_field(inner)) is not None:
                return f"{place}.{found}"
    return None


def _messages_in(field: Any, value: Any) -> Iterable[tuple[str, Any]]:
    """The messages that a field holds, each with its place."""
    kind = field.message_type
    if kind is None:
        return ()
    if kind.GetOptions().map_entry:
        if kind.fields_by_name["value"].message_type is None:
            return ()
        return ((f"{field.name}[{key!r}]", value[key]) for key in value)
    return ((field.name, inner) for inner in value) if field.is_repeated else ((field.name, value),)


def refuse_unknown_fields(message: Any) -> None:
    """For messages that say who may come in, or who is trusted: what is not understood there may be a condition."""
    if (unknown := unknown_field(message)) is not None:
        raise UnsupportedError(unknown, "is not known to this release")


def inside(field: str, decode: Callable[[Any], T], message: Any) -> T:
    """Decode a sub-message; an error in it is placed under ``field``."""
    try:
        return decode(message)
    except FieldError as error:
        raise error.within(field) from None


def each(field: str, decode: Callable[[Any], T], messages: Iterable[Any]) -> tuple[T, ...]:
    """Decode a repeated sub-message; an error in it is placed under ``field[i]``."""
    decoded = []
    for i, message in enumerate(messages):
        try:
            decoded.append(decode(message))
        except FieldError as error:
            raise error.within(f"{field}[{i}]") from None
    return tuple(decoded)


def unpacked(packed: Any, message_type: Any) -> Any:
    """What a google.protobuf.Any of this type holds."""
    try:
        return message_type.FromString(packed.value)
    except WireError as error:
        raise FieldError("", f"not an {message_type.DESCRIPTOR.name}: {error}") from None


def shortened(text: str, *, quoted: bool = True) -> str:
    """What a message says of a text from outside, which may be megabytes."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return repr(cut) if quoted else cut


def seconds(field: str, duration: Any) -> float:
    """A google.protobuf.Duration, refused where Envoy refuses it (source/common/protobuf/utility.cc, DurationUtil)."""
    if duration.seconds < 0 or not 0 <= duration.nanos < _NANOS:
        raise FieldError(field, f"{duration.seconds} s and {duration.nanos} ns are no duration of 0 s or more")
    if duration.seconds >= _LONGEST:
        raise FieldError(field, f"{duration.seconds} s are more than {_LONGEST - 1}")
    return float(duration.seconds + duration.nanos / _NANOS)


def finite(number: float) -> float:
    """NaN would make a configuration unequal to itself, thus a change each time; JSON has neither."""
    if not math.isfinite(number):
        raise FieldError("", f"{number} is no number that can be used")
    return number


def known_name(message: Any, field: str, known: type[E]) -> E:
    """The value of an enum field. proto3 enums are open: a number that a later Envoy invented arrives as a number."""
    number = getattr(message, field)
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number.get(number)
    if value is None or value.name not in known.__members__:
        raise FieldError(field, f"{value.name if value else number} is not supported")
    return known[value.name]


def string_labels(struct: Any) -> Labels:
    """A Struct that is compared as labels. Leaving a value out could turn TLS off, so what is no string is an error."""
    for key, value in struct.fields.items():
        if value.WhichOneof("kind") != "string_value":
            raise FieldError(key, "only string values can be compared")
    return tuple(sorted((key, value.string_value) for key, value in struct.fields.items()))


def string_match(matcher: Any) -> StringMatch:
    """A type.matcher.v3.StringMatcher."""
    pattern = matcher.WhichOneof("match_pattern")
    if pattern == "safe_regex":
        # It "has no effect for the safe_regex match" to ignore case (type/matcher/v3/string.proto).
        return StringMatch(StringMatchKind.REGEX, regex("safe_regex", matcher.safe_regex))
    if pattern in ("exact", "prefix", "suffix", "contains"):
        return StringMatch(StringMatchKind(pattern), getattr(matcher, pattern), matcher.ignore_case)
    if pattern is not None:
        raise UnsupportedError(pattern, "is not a string match this release evaluates")
    raise FieldError("match_pattern", "is not a string match this release evaluates")


def regex(field: str, matcher: Any) -> str:
    """The pattern of a RegexMatcher, checked: what cannot be evaluated must be refused here, not when a call comes."""
    pattern: str = matcher.regex
    _checked(field, pattern)
    return pattern


def regex_substitution(rewrite: Any) -> None:
    r"""A RegexMatchAndSubstitute, checked: ``\1`` to ``\9`` stand for groups of the pattern, ``\0`` for all of it."""
    groups = _checked("pattern", rewrite.pattern.regex).groups
    written = iter(rewrite.substitution)
    for sign in written:
        if sign != "\\" or (escaped := next(written, "")) == "\\":
            continue
        if not escaped.isascii() or not escaped.isdigit():
            raise FieldError("substitution", f"{shortened(rewrite.substitution)}: \\{escaped} means nothing")
        if int(escaped) > groups:
            raise FieldError("substitution", f"\\{escaped}: {shortened(rewrite.pattern.regex)} has {groups} groups")


_MAX_PROGRAMS = 64 << 20
_MAX_KEPT = 4 * _MAX_PROGRAMS
_LARGEST_PROGRAM = 1 << 20  # what the engine refuses beyond, after as much work


@dataclass(slots=True)
class _Budget:
    """What patterns of one resource may still compile to. ``part`` None: what is decoded now is needed, not just kept.

    Whoever fills a filter with patterns takes nothing from the names that TLS peers are known by.
    """

    needed: int = _MAX_PROGRAMS
    kept: int = _MAX_KEPT
    part: int | None = None

    @property
    def left(self) -> int:
        return self.needed if self.part is None else min(self.part, self.kept)

    def take(self, size: int) -> None:
        if self.part is None:
            self.needed -= size
        else:
            self.part -= size
            self.kept -= size


_budget: ContextVar[_Budget] = ContextVar("_budget")


@contextmanager
def bounded_patterns() -> Iterator[None]:
    """Within it patterns may compile to so much together: ten bytes of text can stand for a megabyte."""
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


@contextmanager
def kept_patterns() -> Iterator[None]:
    """Within it patterns are only kept for whoever asks: they have a budget of their own, for this part of the resource
    and for all such parts together. A part of a part shares its budget.
    """
    budget = _budget.get(None)
    if budget is None:
        with bounded_patterns(), kept_patterns():
            yield
    elif budget.part is not None:
        yield
    else:
        budget.part = _MAX_PROGRAMS
        try:
            yield
        finally:
            budget.part = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """It is compiled anew, and kept, where a call needs it."""

    groups: int
    size: int
    problem: str = ""


def _checked(field: str, pattern: str) -> _Checked:
    budget = _budget.get(None) or _Budget()
    if budget.left >= 0:  # beyond it nothing is compiled any more: that is the work that is bounded
        found = _check(pattern)
        budget.take(found.size)
        if found.problem:
            raise FieldError(field, f"{shortened(pattern)}: does not compile: {found.problem}")
    if budget.left < 0:
        together = "this resource" if budget.part is None else "what is only kept of this resource"
        kind = FieldError if budget.part is None else TooManyPatternsError
        raise kind(field, f"the patterns of {together} compile to more than {_MAX_PROGRAMS} bytes")
    return found


@lru_cache(maxsize=1024)
def _check(pattern: str) -> _Checked:
    try:
        compiled = Pattern(pattern)
    except ValueError as error:
        return _Checked(0, _LARGEST_PROGRAM, shortened(str(error), quoted=False))
    return _Checked(compiled.groups, compiled.size)
