"""RouteMatch to the model (envoy/config/route/v3/route_components.proto). Pure functions.

A condition that this release cannot evaluate is an `UnsupportedError`, and its route matches nothing: leaving the
condition out would let more requests through than written.
"""

from __future__ import annotations

from typing import Any

from xds_client.decode.fields import FieldError, UnsupportedError, each, refuse_unknown_fields, regex, string_match
from xds_client.model import (
    HeaderMatch,
    PathMatch,
    PathMatchKind,
    PresentMatch,
    RangeMatch,
    RouteMatch,
    StringMatch,
    StringMatchKind,
)

_PATH_KINDS = {
    "path": PathMatchKind.EXACT,
    "prefix": PathMatchKind.PREFIX,
    "path_separated_prefix": PathMatchKind.SEPARATED_PREFIX,
}
_PER_MILLION = {"HUNDRED": 10_000, "TEN_THOUSAND": 100, "MILLION": 1}
_NOT_EVALUATED = ("dynamic_metadata", "filter_state")
# The forms that Envoy had before string_match; localmesh and older istiods may still send them.
_OLD_HEADER_FORMS = {
    "exact_match": StringMatchKind.EXACT,
    "prefix_match": StringMatchKind.PREFIX,
    "suffix_match": StringMatchKind.SUFFIX,
    "contains_match": StringMatchKind.CONTAINS,
}


def never_for_grpc(message: Any) -> bool:
    """Whether no gRPC call can match: it has no query string, so a parameter is never there, and is never CONNECT."""
    if message.WhichOneof("path_specifier") == "connect_matcher":
        return True
    return any(
        q.WhichOneof("query_parameter_match_specifier") != "present_match" or q.present_match
        for q in message.query_parameters
    )


def route_match(message: Any) -> RouteMatch:
    for field in _NOT_EVALUATED:
        if getattr(message, field):
            raise UnsupportedError(field, "is not a condition this release evaluates")
    if message.HasField("tls_context"):
        raise UnsupportedError("tls_context", "is not a condition this release evaluates")
    refuse_unknown_fields(message)
    return RouteMatch(_path(message), each("headers", _header, message.headers), _fraction(message))


def _path(message: Any) -> PathMatch:
    kind = message.WhichOneof("path_specifier")
    case_sensitive = message.case_sensitive.value if message.HasField("case_sensitive") else True
    if kind == "safe_regex":
        # "case_sensitive ... has no effect on the safe_regex"
        return PathMatch(PathMatchKind.REGEX, regex(kind, message.safe_regex))
    if kind in _PATH_KINDS:
        return PathMatch(_PATH_KINDS[kind], getattr(message, kind), case_sensitive)
    if kind is not None:
        raise UnsupportedError(kind, "is not a path match this release evaluates")
    raise FieldError("path_specifier", "is not a path match this release evaluates")


def _fraction(message: Any) -> int | None:
    if not message.HasField("runtime_fraction"):
        return None
    part = message.runtime_fraction.default_value
    unit = part.DESCRIPTOR.fields_by_name["denominator"].enum_type.values_by_number.get(part.denominator)
    if unit is None:
        raise FieldError("runtime_fraction.default_value.denominator", f"{part.denominator} is not supported")
    return min(int(part.numerator) * _PER_MILLION[unit.name], 1_000_000)


def _header(message: Any) -> HeaderMatch:
    if not message.name:
        raise FieldError("name", "is empty")
    return HeaderMatch(
        message.name.lower(), _header_rule(message), message.invert_match, message.treat_missing_header_as_empty
    )


def _header_rule(message: Any) -> StringMatch | RangeMatch | PresentMatch:
    kind = message.WhichOneof("header_match_specifier")
    if kind is None:
        return PresentMatch()  # "if none is set, a request with the header matches"
    if kind == "string_match":
        return string_match(message.string_match)
    if kind in _OLD_HEADER_FORMS:
        return StringMatch(_OLD_HEADER_FORMS[kind], getattr(message, kind))
    if kind == "safe_regex_match":
        return StringMatch(StringMatchKind.REGEX, regex(kind, message.safe_regex_match))
    if kind == "range_match":
        return RangeMatch(message.range_match.start, message.range_match.end)
    if kind == "present_match":
        return PresentMatch(message.present_match)
    raise UnsupportedError(kind, "is not a header match this release evaluates")
