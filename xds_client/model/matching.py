"""Conditions on texts, headers, parameters and metadata, which routes and policies share. No behaviour.

Each class says which message of Envoy's it is (envoy.type.matcher.v3 where nothing else is said).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


class StringMatchKind(Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    REGEX = "regex"  # RE2, the whole string must match


@dataclass(frozen=True, slots=True)
class StringMatch:
    """``StringMatcher``."""

    kind: StringMatchKind
    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """The header is a base-10 integer in ``[start, end)``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PresentMatch:
    """The header, or the value, is there (``present``) or is not there."""

    present: bool = True


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """``envoy.config.route.v3.HeaderMatcher``. ``name`` is lower case and may be a pseudo header (``:authority``)."""

    name: str
    rule: StringMatch | RangeMatch | PresentMatch
    invert: bool = False
    missing_as_empty: bool = False


@dataclass(frozen=True, slots=True)
class QueryParameterMatch:
    """``envoy.config.route.v3.QueryParameterMatcher``. ``rule`` None: it is there, with whatever value.

    None too where its pattern is malformed; a `RouteMatch` of which that holds says so, and ``never`` matches.
    """

    name: str
    rule: StringMatch | PresentMatch | None = None


@dataclass(frozen=True, slots=True)
class NullMatch:
    """``ValueMatcher.null_match``: the value is JSON's null."""


@dataclass(frozen=True, slots=True)
class BoolMatch:
    """``ValueMatcher.bool_match``."""

    value: bool


@dataclass(frozen=True, slots=True)
class DoubleMatch:
    """``DoubleMatcher``: exactly this number, which is a range of one, or in ``[start, end)``."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class ListMatch:
    """``ListMatcher``: the value is a list, one of whose entries matches."""

    one_of: ValueMatch


@dataclass(frozen=True, slots=True)
class AnyValueMatch:
    """``OrMatcher``: one of these matches."""

    values: tuple[ValueMatch, ...]


ValueMatch: TypeAlias = "StringMatch | PresentMatch | NullMatch | BoolMatch | DoubleMatch | ListMatch | AnyValueMatch"


@dataclass(frozen=True, slots=True)
class MetadataMatch:
    """``MetadataMatcher``: what the filter of this name found of the request, at this path."""

    filter: str
    path: tuple[str, ...]
    value: ValueMatch
    invert: bool = False


@dataclass(frozen=True, slots=True)
class FilterStateMatch:
    """``FilterStateMatcher``, of texts; istiod says so whose identity a waypoint vouches for."""

    key: str
    string_match: StringMatch


@dataclass(frozen=True, slots=True)
class StringListMatch:
    """``ListStringMatcher``: one of these matches."""

    patterns: tuple[StringMatch, ...] = ()
