"""RouteMatch to the model (envoy/config/route/v3/route_components.proto). Pure functions.

A condition that this release cannot evaluate is an `UnsupportedError`, and its route matches nothing: leaving the
condition out would let more requests through than written.
"""

from __future__ import annotations

from typing import Any

from envoy.config.route.v3 import route_components_pb2 as rds  # type: ignore[import-untyped]
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2  # type: ignore[import-untyped]

from xds_client.decode.extensions import known_extension
from xds_client.decode.fields import (
    FieldError,
    UnsupportedError,
    each,
    inside,
    kept_patterns,
    refuse_unknown_fields,
    regex,
)
from xds_client.decode.matching import header_match, query_parameter_match
from xds_client.decode.shape import Shape, shaped
from xds_client.decode.values import per_million
from xds_client.model import PathMatch, PathMatchKind, QueryParameterMatch, RouteMatch, TlsContextMatch, UriTemplate

_PATH_KINDS = {
    "path": PathMatchKind.EXACT,
    "prefix": PathMatchKind.PREFIX,
    "path_separated_prefix": PathMatchKind.SEPARATED_PREFIX,
}
_NOT_EVALUATED = ("dynamic_metadata", "filter_state", "tls_context")
_NO_PATH = PathMatch(PathMatchKind.EXACT, "")  # no request has it

tls_context_match = Shape(TlsContextMatch, rds.RouteMatch.TlsContextMatchOptions)
uri_template = Shape(UriTemplate, uri_template_match_pb2.UriTemplateMatchConfig)
known_extension(uri_template_match_pb2.UriTemplateMatchConfig, uri_template)
_besides = Shape(
    RouteMatch,
    rds.RouteMatch,
    by={"grpc": lambda _: True, "connect_matcher": lambda _: True},
    renamed={"connect_matcher": "connect"},
    by_hand=frozenset(
        {"prefix", "path", "safe_regex", "path_separated_prefix", "case_sensitive", "runtime_fraction", "headers"}
    ),
)


def route_match(message: Any) -> RouteMatch:
    """Raises `FieldError` where the match is malformed; one that cannot be evaluated is one that ``never`` matches."""
    problems: list[str] = []
    besides = _besides.said(message, problems)
    if "query_parameters" not in besides:  # malformed: still no gRPC call has what they ask for
        besides["query_parameters"] = tuple(map(_query_parameter, message.query_parameters))
    if message.WhichOneof("path_specifier") == "connect_matcher":
        return RouteMatch(_NO_PATH, **besides)
    try:
        _refuse_what_is_not_evaluated(message)
        path, headers, fraction = _path(message), each("headers", header_match, message.headers), _fraction(message)
    except UnsupportedError as error:
        return RouteMatch(_NO_PATH, never=f"match.{error.field}: {error.reason}", **besides)
    if problems:
        return RouteMatch(_NO_PATH, never=f"match.{problems[0]}", **besides)
    return RouteMatch(path, headers, fraction, runtime_key=message.runtime_fraction.runtime_key, **besides)


shaped(rds.RouteMatch.DESCRIPTOR.full_name, route_match)


def _query_parameter(message: Any) -> QueryParameterMatch:
    try:
        with kept_patterns():
            return query_parameter_match(message)
    except FieldError:
        return QueryParameterMatch(message.name)


def _refuse_what_is_not_evaluated(message: Any) -> None:
    said = {field.name for field, _ in message.ListFields()}
    for field in _NOT_EVALUATED:
        if field in said:
            raise UnsupportedError(field, "is not a condition this release evaluates")
    refuse_unknown_fields(message)


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
    return inside("runtime_fraction.default_value", per_million, message.runtime_fraction.default_value)
