"""Conditions on headers, parameters and metadata (envoy/type/matcher/v3, envoy/config/route/v3). Pure functions.

A condition that this release cannot evaluate is an `UnsupportedError`; what is decided by it is for the caller to say.
"""

from __future__ import annotations

import math
from typing import Any

from envoy.type.matcher.v3 import string_pb2, value_pb2  # type: ignore[import-untyped]

from xds_client import model as m
from xds_client.decode.fields import FieldError, UnsupportedError, each, finite, inside, regex, string_match
from xds_client.decode.shape import OneOf, Shape, required, shaped

# The forms that Envoy had before string_match; localmesh and older istiods may still send them.
_OLD_HEADER_FORMS = {
    "exact_match": m.StringMatchKind.EXACT,
    "prefix_match": m.StringMatchKind.PREFIX,
    "suffix_match": m.StringMatchKind.SUFFIX,
    "contains_match": m.StringMatchKind.CONTAINS,
}


def header_match(message: Any) -> m.HeaderMatch:
    if not message.name:
        raise FieldError("name", "is empty")
    return m.HeaderMatch(
        message.name.lower(), _header_rule(message), message.invert_match, message.treat_missing_header_as_empty
    )


def _header_rule(message: Any) -> m.StringMatch | m.RangeMatch | m.PresentMatch:
    kind = message.WhichOneof("header_match_specifier")
    if kind is None:
        return m.PresentMatch()  # "if none is set, a request with the header matches"
    if kind == "string_match":
        return string_match(message.string_match)
    if kind in _OLD_HEADER_FORMS:
        return m.StringMatch(_OLD_HEADER_FORMS[kind], getattr(message, kind))
    if kind == "safe_regex_match":
        return m.StringMatch(m.StringMatchKind.REGEX, regex(kind, message.safe_regex_match))
    if kind == "range_match":
        return m.RangeMatch(message.range_match.start, message.range_match.end)
    if kind == "present_match":
        return m.PresentMatch(message.present_match)
    raise UnsupportedError(kind, "is not a header match this release evaluates")


def query_parameter_match(message: Any) -> m.QueryParameterMatch:
    kind = message.WhichOneof("query_parameter_match_specifier")
    rule: m.StringMatch | m.PresentMatch | None = None
    if kind == "string_match":
        rule = inside(kind, string_match, message.string_match)
    elif kind == "present_match":
        rule = m.PresentMatch(message.present_match)
    return m.QueryParameterMatch(message.name, rule)


def metadata_match(message: Any) -> m.MetadataMatch:
    path = each("path", _segment, message.path)
    return m.MetadataMatch(message.filter, path, required(value_match, message, "value"), message.invert)


def _segment(message: Any) -> str:
    if message.WhichOneof("segment") != "key":
        raise UnsupportedError("segment", "is not known to this release")
    key: str = message.key
    return key


def _double_match(message: Any) -> m.DoubleMatch:
    kind = message.WhichOneof("match_pattern")
    if kind == "exact":
        exact = finite(message.exact)
        return m.DoubleMatch(exact, finite(math.nextafter(exact, math.inf)))
    if kind == "range":
        return m.DoubleMatch(finite(message.range.start), finite(message.range.end))
    raise UnsupportedError("match_pattern", "says nothing that this release knows")


value_match: OneOf = OneOf(
    value_pb2.ValueMatcher,
    "match_pattern",
    {
        "null_match": lambda _: m.NullMatch(),
        "double_match": _double_match,
        "string_match": string_match,
        "bool_match": m.BoolMatch,
        "present_match": m.PresentMatch,
        "list_match": lambda said: m.ListMatch(required(value_match, said, "one_of")),
        "or_match": lambda said: m.AnyValueMatch(each("value_matchers", value_match, said.value_matchers)),
    },
)


def filter_state_match(message: Any) -> m.FilterStateMatch:
    if message.WhichOneof("matcher") != "string_match":
        raise UnsupportedError("matcher", "is not a condition this release evaluates")
    return m.FilterStateMatch(message.key, inside("string_match", string_match, message.string_match))


for name, convert in {
    "envoy.config.route.v3.HeaderMatcher": header_match,
    "envoy.config.route.v3.QueryParameterMatcher": query_parameter_match,
    "envoy.type.matcher.v3.MetadataMatcher": metadata_match,
    "envoy.type.matcher.v3.FilterStateMatcher": filter_state_match,
    "envoy.type.matcher.v3.DoubleMatcher": _double_match,
}.items():
    shaped(name, convert)

string_list_match = Shape(m.StringListMatch, string_pb2.ListStringMatcher)
