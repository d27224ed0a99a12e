"""Whether a request is what a route asks for. Compiled once per configuration, run once per call.

Rules: envoy/config/route/v3/route_components.proto (RouteMatch, HeaderMatcher), as a sidecar carries them out; gRPC's
own clients differ (gRFC A28: binary headers never match, values of one name are joined by commas).
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

from rpc.pattern import pattern_match
from rpc.request_head import RequestHead
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

_PER_MILLION = 1_000_000
_INT64_DIGITS = 19
_ALL_PATHS = frozenset({"", "/"})  # prefixes that each path begins with
_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


Matcher = Callable[[RequestHead], bool]
Text = Callable[[str, RequestHead], bool]  # whether a text of that request matches


def everything(_: RequestHead) -> bool:
    """Matches every request."""
    return True


def compile_match(match: RouteMatch) -> Matcher:
    """One predicate for the whole match; raises `InvalidPatternError`. It raises `TextTooLongError`."""
    if match.never:
        return lambda _: False
    headers = tuple(_header(header) for header in match.headers)
    fraction = match.fraction_per_million
    if not headers and fraction is None and match.path.kind is PathMatchKind.PREFIX and match.path.value in _ALL_PATHS:
        return everything
    path = _path(match.path)
    if not headers and fraction is None:
        return lambda head: path(head.path, head)

    def matches(head: RequestHead) -> bool:
        if not path(head.path, head) or not all(header(head) for header in headers):
            return False
        return fraction is None or random.randrange(_PER_MILLION) < fraction  # noqa: S311 - a share, not a secret

    return matches


def _path(match: PathMatch) -> Text:
    value = match.value
    match match.kind:
        case PathMatchKind.EXACT:
            kind = StringMatchKind.EXACT
        case PathMatchKind.PREFIX:
            if value in _ALL_PATHS:
                return lambda *_: True
            kind = StringMatchKind.PREFIX
        case PathMatchKind.REGEX:
            kind = StringMatchKind.REGEX
        case PathMatchKind.SEPARATED_PREFIX:
            whole = _text(StringMatch(StringMatchKind.EXACT, value, not match.case_sensitive))
            below = _text(StringMatch(StringMatchKind.PREFIX, f"{value}/", not match.case_sensitive))
            return lambda path, head: whole(path, head) or below(path, head)
    return _text(StringMatch(kind, value, not match.case_sensitive))


def _text(match: StringMatch) -> Text:
    value = match.value
    if match.kind is StringMatchKind.REGEX:
        return pattern_match(f"(?i){value}" if match.ignore_case else value)
    if match.ignore_case:
        folded = _text(StringMatch(match.kind, _lowered(value)))
        return lambda text, head: folded(_lowered(text), head)
    match match.kind:
        case StringMatchKind.EXACT:
            return lambda text, _: text == value
        case StringMatchKind.PREFIX:
            return lambda text, _: text.startswith(value)
        case StringMatchKind.SUFFIX:
            return lambda text, _: text.endswith(value)
        case StringMatchKind.CONTAINS:
            return lambda text, _: value in text


def _lowered(text: str) -> str:
    """Without the case of ASCII's letters; the others are other letters to Envoy."""
    return text.lower() if text.isascii() else text.translate(_ASCII)


def _range(match: RangeMatch) -> Text:
    def within(text: str, _: RequestHead) -> bool:
        sign, digits = (text[0], text[1:]) if text[:1] in {"-", "+"} else ("", text)
        significant = digits.lstrip("0")
        if not (digits.isascii() and digits.isdigit()) or len(significant) > _INT64_DIGITS:
            return False  # what does not fit into 64 bits is no number to Envoy, and beyond every range
        return match.start <= int(f"{sign}{significant or 0}") < match.end

    return within


def _header(match: HeaderMatch) -> Matcher:
    """Each value on its own: one that matches is enough (Envoy's source/common/http/header_utility.cc, since 1.39)."""
    name, invert, missing_as_empty = match.name, match.invert, match.missing_as_empty
    if isinstance(match.rule, PresentMatch):
        wanted = match.rule.present != invert
        return lambda head: (missing_as_empty or bool(head.values(name))) == wanted
    rule = _range(match.rule) if isinstance(match.rule, RangeMatch) else _text(match.rule)

    def matches(head: RequestHead) -> bool:
        values = head.values(name)
        if not values:
            # A missing header matches nothing, inverted or not (HeaderMatcher.invert_match).
            return missing_as_empty and rule("", head) != invert
        return any(rule(value, head) for value in values) != invert

    return matches
