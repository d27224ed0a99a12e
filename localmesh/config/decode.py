"""From YAML nodes to typed, frozen dataclasses, by their annotations; every refusal keeps its line.

A spec class says what Istio knows and localmesh does not do yet (``UNSUPPORTED``), which fields exclude one another
(``ONEOFS``) and, in ``problems()``, what else makes a value unusable. Pure; any thread.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from localmesh.errors import Problem

MAX_UINT32 = 2**32 - 1
MAX_PROBLEMS = 100  # of one file that are listed
_LONGEST_NUMBER = (
    64  # characters; none that Istio takes is longer, and Python converts longer ones slowly or not at all
)

_GO_BOOLS = frozenset("yYnN")  # istiod's YAML reader takes these, unquoted, for booleans; PyYAML does not
_SCALARS = yaml.constructor.SafeConstructor()
_STR, _INT, _FLOAT, _BOOL, NULL, _TIMESTAMP = (
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")
)
# Go's time.ParseDuration, which is what Istio reads durations with
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LONGEST_DURATION = Decimal(2**63 - 1) / 10**9
_MILLISECOND = timedelta(milliseconds=1)
_UNIT = {"ns": "1e-9", "us": "1e-6", "µs": "1e-6", "ms": "1e-3", "s": "1", "m": "60", "h": "3600"}


class Refused(Exception):  # noqa: N818  # control flow inside this package: it ends up as a Problem
    """The node cannot be read; the problem is already recorded."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What every decoded class may say about itself."""

    IS_OPEN: ClassVar[bool] = False  # whether fields that it does not have are somebody else's business
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset()
    ONEOFS: ClassVar[tuple[tuple[str, ...], ...]] = ()
    RENAMED: ClassVar[Mapping[str, str]] = {}  # where camelCase(field) is not Istio's name
    UNWRITTEN: ClassVar[frozenset[str]] = (
        frozenset()
    )  # fields that no document has: what is made of other kinds says so

    def problems(self) -> Iterator[tuple[str, str]]:
        """Pairs of a YAML field name ("" for the whole) and a reason."""
        yield from ()


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


Read = Callable[["Decoder", yaml.Node, str], Any]  # what a node says, as one annotation wants it


def _istio_name(cls: type[Spec], name: str) -> str:
    return cls.RENAMED.get(name, camel(name))


def _key(cls: type[Spec]) -> Any:
    """For mypy, which does not believe that a class of dataclasses is hashable."""
    return cls


@dataclass(frozen=True, slots=True)
class _Field:
    """What is to be known about a field, looked up once per class and not once per value."""

    name: str
    istio_name: str
    hint: Any
    read: Read
    is_needed: bool


@dataclass(frozen=True, slots=True)
class _Form:
    """Of a class: its fields by all names that they may be written by: camelCase, or the proto's own, as protojson."""

    fields: Mapping[str, _Field]
    needed: Mapping[str, None]  # by Istio's names, in order
    unsupported: frozenset[str]
    is_open: bool
    oneofs: tuple[tuple[str, ...], ...]


@cache
def _fields_of(cls: type[Any]) -> tuple[_Field, ...]:
    hints = get_type_hints(cls)
    return tuple(
        _Field(
            field.name,
            _istio_name(cls, field.name),
            hints[field.name],
            _reader(hints[field.name]),
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(cls)
        if field.name not in cls.UNWRITTEN
    )


@cache
def _form(cls: type[Any]) -> _Form:
    found = _fields_of(_key(cls))
    names = {field.name: field for field in found} | {field.istio_name: field for field in found}
    needed = dict.fromkeys(field.istio_name for field in found if field.is_needed)
    return _Form(names, needed, cls.UNSUPPORTED, cls.IS_OPEN, cls.ONEOFS)


@cache
def _reader(hint: Any) -> Read:
    """Of an annotation, None left aside."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _reader(next(arg for arg in get_args(hint) if arg is not NoneType))
    if origin is tuple:
        item = _reader(get_args(hint)[0])
        return lambda decoder, node, path: decoder.sequence(node, item, path)
    if origin is Mapping:
        value = _reader(get_args(hint)[1])
        return lambda decoder, node, path: decoder.mapping(node, value, path)
    return _reader_of_one(hint)


def _reader_of_one(hint: Any) -> Read:
    if hint is Any:
        return lambda *_: None
    if hint is str:
        return _text
    if issubclass(hint, Spec):
        return lambda decoder, node, path: decoder.spec(node, hint, path)
    return lambda decoder, node, path: decoder.scalar(node, hint, path)


def _text(decoder: Decoder, node: yaml.Node, path: str) -> str:
    """Most values are words, in which there is nothing to look at."""
    if node.tag == _STR and type(node) is yaml.ScalarNode and node.value.isascii() and node.value not in _GO_BOOLS:
        return node.value  # type: ignore[no-any-return]  # in the stubs
    return decoder.scalar(node, str, path)  # type: ignore[no-any-return]


class IntOrString(str):
    """Kubernetes' type of this name, as it is written."""

    __slots__ = ()


_ACCEPTED = {str: (_STR, _TIMESTAMP), IntOrString: (_STR, _INT), bool: (_BOOL,), int: (_INT,), float: (_FLOAT, _INT)}


def parse_duration(text: str) -> timedelta | None:
    """Go's duration syntax; None if it is not one, or longer than Go's int64 of nanoseconds can say."""
    if len(text) > _LONGEST_NUMBER:
        return None
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    seconds = sum((Decimal(number) * Decimal(_UNIT[unit]) for number, unit in parts), Decimal(0))
    return timedelta(microseconds=int(seconds * 1_000_000)) if seconds <= _LONGEST_DURATION else None


SpecT = TypeVar("SpecT", bound=Spec)


def too_fine(duration: timedelta | None) -> str | None:
    """Why Istio refuses the duration where it runs `ValidateDuration`."""
    if duration is None or (duration >= _MILLISECOND and not duration % _MILLISECOND):
        return None
    return "must be at least 1ms, in whole milliseconds"


class Decoder:
    """Reads the documents of one file and collects what is wrong with them; of very many problems, the first."""

    def __init__(self, file: str, problems: Sequence[Problem] = ()) -> None:
        self.file = file
        self._problems = list(problems[:MAX_PROBLEMS])
        self._count = len(problems)

    @property
    def problems(self) -> list[Problem]:
        """In the order of their lines."""
        listed = sorted(self._problems, key=lambda problem: problem.line)
        if self._count > MAX_PROBLEMS:
            rest = f"and {self._count - MAX_PROBLEMS} more problems in this file: mend these first"
            listed.append(Problem(self.file, listed[-1].line, rest))
        return listed

    def add(self, line: int, reason: str) -> None:
        self._count += 1
        if self._count <= MAX_PROBLEMS:
            self._problems.append(Problem(self.file, line, reason))

    def report(self, node: yaml.Node, reason: str) -> None:
        self.add(node.start_mark.line + 1, reason)

    def refuse(self, node: yaml.Node, path: str, reason: str) -> Refused:
        self.report(node, f"{path}: {reason}")
        return Refused()

    def entries(self, node: yaml.Node, path: str) -> dict[str, yaml.Node]:
        """A mapping's values by key, nulls left out (protojson reads null as absent)."""
        if not isinstance(node, yaml.MappingNode):
            raise self.refuse(node, path, f"must be a mapping, not {_called(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.refuse(key, path, "a key must be a plain string")
            name = key.value
            if name in found:
                raise self.refuse(key, path, f"{name!r} is written twice")
            if value.tag != NULL:
                found[name] = value
        return found

    def spec(self, node: yaml.Node, cls: type[SpecT], path: str) -> SpecT:
        """The dataclass that the mapping describes. Every problem in it is recorded before `Refused` is raised."""
        before = self._count
        form = _form(_key(cls))
        known = form.fields
        nodes: dict[str, yaml.Node] = {}  # by Istio's names
        values: dict[str, Any] = {}
        for key, child in self.entries(node, path).items():
            if key not in known:
                self._report_unread(child, key, form, path)
                continue
            field = known[key]
            nodes[field.istio_name] = child
            try:  # and not suppress(): it would be a tenth of the time of a big folder
                values[field.name] = field.read(self, child, f"{path}.{field.istio_name}")
            except Refused:
                continue
        self._check_fields(node, nodes, form, path)
        if self._count > before:
            raise Refused
        made = cls(**values)
        for name, reason in made.problems():
            self.report(nodes.get(name, node), f"{path}.{name}: {reason}" if name else f"{path}: {reason}")
        if self._count > before:
            raise Refused
        return made

    def _check_fields(self, node: yaml.Node, given: Mapping[str, yaml.Node], form: _Form, path: str) -> None:
        for name in form.needed:
            if name not in given:
                self.report(node, f"{path}.{name}: is missing")
        for group in form.oneofs:
            if len(written := [name for name in group if name in given]) > 1:
                self.report(given[written[1]], f"{path}: {' and '.join(written)} exclude each other")

    def _report_unread(self, node: yaml.Node, key: str, form: _Form, path: str) -> None:
        if key in form.unsupported:
            self.report(node, f"{path}.{key}: localmesh does not support this field yet")
        elif not form.is_open:
            self.report(node, f"{path}.{key}: unknown field")

    def value(self, node: yaml.Node, hint: Any, path: str) -> Any:
        """What the node says, as the annotation ``hint`` wants it."""
        return _reader(hint)(self, node, path)

    def sequence(self, node: yaml.Node, read: Read, path: str) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.refuse(node, path, f"must be a list, not {_called(node)}")
        items, before = [], self._count
        for index, child in enumerate(node.value):
            try:
                items.append(read(self, child, f"{path}[{index}]"))
            except Refused:
                continue
        if self._count > before:
            raise Refused
        return tuple(items)

    def mapping(self, node: yaml.Node, read: Read, path: str) -> Mapping[str, Any]:
        found, before = {}, self._count
        for key, child in self.entries(node, path).items():
            try:
                found[key] = read(self, child, f"{path}.{key}")
            except Refused:
                continue
        if self._count > before:
            raise Refused
        return found

    def scalar(self, node: yaml.Node, hint: type[Any], path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.refuse(node, path, f"must be {_wanted(hint)}, not {_called(node)}")
        tag = _BOOL if not node.style and node.value in _GO_BOOLS else node.tag
        if tag in _ACCEPTED.get(hint, ()):
            return self._plain(node, hint, path)
        if issubclass(hint, Enum):
            if node.value not in hint.__members__:
                raise self.refuse(node, path, f"{node.value!r} is not one of {', '.join(hint.__members__)}")
            return hint[node.value]
        if hint is timedelta and node.tag == _STR:
            duration = parse_duration(node.value)
            if duration is None:
                raise self.refuse(node, path, f"{node.value!r} is not a duration such as 250ms or 1.5s")
            return duration
        kind = "the boolean" if tag == _BOOL else _called(node)
        raise self.refuse(node, path, f"must be {_wanted(hint)}, not {kind} {node.value!r}")

    def _plain(self, node: yaml.ScalarNode, hint: type[Any], path: str) -> Any:
        if issubclass(hint, str):
            return hint(self._text(node, path))
        if hint is bool:
            return node.value in "yY" if node.value in _GO_BOOLS else _SCALARS.construct_object(node)
        return self._number(node, hint, path)

    def _text(self, node: yaml.ScalarNode, path: str) -> str:
        text: str = node.value
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.refuse(node, path, f"{text!r} has half of a character (a surrogate) in it: write the whole")
        return text

    def _number(self, node: yaml.ScalarNode, hint: type[Any], path: str) -> Any:
        value: Any = math.nan
        if len(node.value) <= _LONGEST_NUMBER:
            with suppress(ValueError, OverflowError):  # YAML's words for a number are more than Python's
                value = hint(_SCALARS.construct_object(node))
        if not 0 <= value <= MAX_UINT32:
            raise self.refuse(node, path, f"{node.value} is not between 0 and {MAX_UINT32}")
        return value


def _called(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kinds = {_STR: "the string", _INT: "the number", _FLOAT: "the number", _BOOL: "the boolean", NULL: "null"}
    return kinds.get(node.tag, "the value")


def _wanted(hint: type) -> str:
    kinds = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", timedelta: "a duration"}
    return kinds.get(hint, "one word")
