"""From a message to the model's class of the same shape: fields keep their names, and are converted by their kind.

A shape is written down once per class, as a table; the test that walks all fields of all messages reads the tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from xds_client.decode.fields import (
    FieldError,
    UnsupportedError,
    each,
    finite,
    inside,
    kept_patterns,
    regex,
    seconds,
    string_match,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

# Whole messages by full name, and what becomes of them wherever they stand.
_SHAPES: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Duration": lambda message: seconds("", message),
    "envoy.type.matcher.v3.StringMatcher": string_match,
    "envoy.type.matcher.v3.RegexMatcher": lambda message: regex("", message),
    "envoy.type.v3.Percent": lambda message: finite(message.value),
    "google.protobuf.Empty": lambda _: True,
}
_WRAPPERS = ("UInt32Value", "UInt64Value", "Int32Value", "Int64Value", "BoolValue", "StringValue")
_SHAPES |= {f"google.protobuf.{name}": lambda message: message.value for name in _WRAPPERS}
_NUMBERS = ("DoubleValue", "FloatValue")
_SHAPES |= {f"google.protobuf.{name}": lambda message: finite(message.value) for name in _NUMBERS}


def shaped(full_name: str, convert: Callable[[Any], Any]) -> None:
    """From now on ``convert`` makes what messages of this type say, wherever a shape meets one."""
    _SHAPES[full_name] = convert


@dataclass(frozen=True)
class Whole:
    """What is made of several fields of the message together."""

    of: tuple[str, ...]
    make: Callable[[Any], Any]


@dataclass(eq=False)
class Shape(Generic[T]):
    """Makes a ``made`` of a ``message`` and is called with one.

    ``renamed``: what a field is called in the model; ``by``: converters of single fields; ``wholes``: attributes made
    of several fields; ``by_hand``: fields that the caller of `said` decodes itself; ``not_kept``: fields of the message
    that the model leaves out, each with its reason.
    """

    made: type[T]
    message: Any
    renamed: Mapping[str, str] = field(default_factory=dict)
    by: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    wholes: Mapping[str, Whole] = field(default_factory=dict)
    by_hand: frozenset[str] = frozenset()
    not_kept: Mapping[str, str] = field(default_factory=dict)
    _plan: dict[str, tuple[str, Callable[[Any], Any] | None]] | None = None

    def __post_init__(self) -> None:
        if not self.by_hand:  # else only `said` can be asked, by whoever decodes the rest
            shaped(self.message.DESCRIPTOR.full_name, self)
        ALL.append(self)

    def __call__(self, message: Any) -> T:
        """Raises `FieldError`. Not of a table that leaves fields to its caller."""
        assert not self.by_hand, self.by_hand
        return self.made(**self.said(message))

    def said(self, message: Any, problems: list[str] | None = None) -> dict[str, Any]:
        """The attributes that the message says something about. Raises `FieldError`; not so if there are ``problems``,
        which is told what is left out because it is malformed, and why: nothing depends on it, nor on its patterns.
        """
        if problems is None:
            return self._said(message, None)
        with kept_patterns():
            return self._said(message, problems)

    def _said(self, message: Any, problems: list[str] | None) -> dict[str, Any]:
        plan = self._plan
        if plan is None:
            plan = self._plan = self._planned()
        said: dict[str, Any] = {}
        for descriptor, value in message.ListFields():
            ours, convert = plan.get(descriptor.name, ("", None))
            if not ours:
                continue
            try:
                said[ours] = value if convert is None else convert(value)
            except FieldError as error:
                _told(error, problems)
        for ours, whole in self.wholes.items():
            try:
                said[ours] = whole.make(message)
            except FieldError as error:
                _told(error, problems)
        return said

    def covers(self) -> set[str]:
        """The fields of the message that end up in the model."""
        ours = {one.name for one in fields(self.made)}  # type: ignore[arg-type]
        direct = {one.name for one in self.message.DESCRIPTOR.fields if self.renamed.get(one.name, one.name) in ours}
        return (direct | self.by_hand).difference(self.not_kept).union(*(one.of for one in self.wholes.values()))

    def _planned(self) -> dict[str, tuple[str, Callable[[Any], Any] | None]]:
        apart = self.by_hand.union(*(whole.of for whole in self.wholes.values()))
        return {
            one.name: (self.renamed.get(one.name, one.name), self._converter(one))
            for one in self.message.DESCRIPTOR.fields
            if one.name in self.covers() - apart
        }

    def _converter(self, descriptor: Any) -> Callable[[Any], Any] | None:
        name = descriptor.name
        known = self.by.get(name) or _by_kind(descriptor)
        kind = descriptor.message_type
        if kind is not None and kind.GetOptions().map_entry:
            return _of_map(name, known)
        if descriptor.is_repeated:
            return tuple if known is None else lambda values: each(name, known, _not_too_many(name, values))
        return None if known is None else lambda value: inside(name, known, value)


ALL: list[Shape[Any]] = []
_MOST = 10_000  # two bytes of an empty message are a thousand bytes of values


def _not_too_many(name: str, values: Any) -> Any:
    if len(values) > _MOST:
        raise FieldError(name, f"has more than {_MOST} entries")
    return values


def _told(error: FieldError, problems: list[str] | None) -> None:
    if problems is None:
        raise error
    problems.append(f"{error.field}: {error.reason}")


def _by_kind(descriptor: Any) -> Callable[[Any], Any] | None:
    kind = descriptor.message_type
    if kind is not None and kind.GetOptions().map_entry:
        return _by_kind(kind.fields_by_name["value"])
    if kind is not None:
        return _SHAPES[kind.full_name]
    if descriptor.cpp_type in (descriptor.CPPTYPE_DOUBLE, descriptor.CPPTYPE_FLOAT):
        return finite
    return enum_name(descriptor.enum_type) if descriptor.enum_type is not None else None


def _of_map(name: str, known: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    """Maps become pairs, sorted: the same map has always the same value."""

    def pairs(said: Any) -> tuple[tuple[Any, Any], ...]:
        if known is None:
            return tuple(sorted(said.items()))
        return tuple((key, inside(f"{name}[{key!r}]", known, said[key])) for key in sorted(said))

    return pairs


def enum_name(enum: Any) -> Callable[[int], str]:
    """The name of a value. Enums are open: a number that a later Envoy invented is told as a number."""
    names = enum.values_by_number
    return lambda number: names[number].name if number in names else str(number)


@dataclass(eq=False)
class OneOf:
    """Makes a value of whichever field of a oneof is said; nothing said, or what is not known, is refused.

    ``not_kept``: fields that are refused by name, each with its reason; a test walks these tables too.
    """

    message: Any
    oneof: str
    makers: Mapping[str, Callable[[Any], Any]]
    not_kept: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shaped(self.message.DESCRIPTOR.full_name, self)
        ONE_OFS.append(self)

    def __call__(self, message: Any) -> Any:
        said = message.WhichOneof(self.oneof)
        if said is None:
            raise UnsupportedError(self.oneof, "says nothing that this release knows")
        if said not in self.makers:
            raise UnsupportedError(said, self.not_kept.get(said, "is not known to this release"))
        return inside(said, self.makers[said], getattr(message, said))


ONE_OFS: list[OneOf] = []


def required(convert: Callable[[Any], T], message: Any, name: str) -> T:
    """A sub-message without which the message means nothing."""
    if not message.HasField(name):
        raise FieldError(name, "is missing")
    return inside(name, convert, getattr(message, name))
