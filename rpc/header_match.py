"""Whether texts and headers of a request are as the mesh asks. Compiled once per configuration, run once per call.

Rules: HeaderMatcher and StringMatcher as a sidecar carries them out; gRPC's own clients differ (gRFC A28: binary
headers never match, values of one name are joined by commas).
"""

from __future__ import annotations

import string
from collections.abc import Callable

from rpc.pattern import PatternWork, pattern_match
from xds_client.model import (
    HeaderMatch,
    PathMatch,
    PathMatchKind,
    PresentMatch,
    RangeMatch,
    StringMatch,
    StringMatchKind,
)

_INT64_DIGITS = 19
ALL_PATHS = frozenset({"", "/"})  # prefixes that each path begins with
_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Headers(PatternWork):
    """One request's, and what matching them has cost."""

    __slots__ = ()

    def values(self, name: str) -> list[str]:
        """Each value that the header comes with; none: it does not come."""
        raise NotImplementedError


Matcher = Callable[[Headers], bool]
Text = Callable[[str, Headers], bool]  # whether a text of that request matches


def text_match(match: StringMatch) -> Text:
    value = match.value
    if match.kind is StringMatchKind.REGEX:
        return pattern_match(f"(?i){value}" if match.ignore_case else value)
    if match.ignore_case:
        folded = text_match(StringMatch(match.kind, _lowered(value)))
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
    def within(text: str, _: Headers) -> bool:
        sign, digits = (text[0], text[1:]) if text[:1] in {"-", "+"} else ("", text)
        significant = digits.lstrip("0")
        if not (digits.isascii() and digits.isdigit()) or len(significant) > _INT64_DIGITS:
            return False  # what does not fit into 64 bits is no number to Envoy, and beyond every range
        return match.start <= int(f"{sign}{significant or 0}") < match.end

    return within


def header_match(match: HeaderMatch) -> Matcher:
    """Each value on its own: one that matches is enough (Envoy's source/common/http/header_utility.cc, since 1.39)."""
    name, invert, missing_as_empty = match.name, match.invert, match.missing_as_empty
    if isinstance(match.rule, PresentMatch):
        wanted = match.rule.present != invert
        return lambda head: (missing_as_empty or bool(head.values(name))) == wanted
    rule = _range(match.rule) if isinstance(match.rule, RangeMatch) else text_match(match.rule)

    def matches(head: Headers) -> bool:
        values = head.values(name)
        if not values:
            # A missing header matches nothing, inverted or not (HeaderMatcher.invert_match).
            return missing_as_empty and rule("", head) != invert
        return any(rule(value, head) for value in values) != invert

    return matches


def path_match(match: PathMatch) -> Text:
    """Of a path without its query. Raises `InvalidPatternError`."""
    value = match.value
    match match.kind:
        case PathMatchKind.EXACT:
            kind = StringMatchKind.EXACT
        case PathMatchKind.PREFIX:
            if value in ALL_PATHS:
                return lambda *_: True
            kind = StringMatchKind.PREFIX
        case PathMatchKind.REGEX:
            kind = StringMatchKind.REGEX
        case PathMatchKind.SEPARATED_PREFIX:
            whole = text_match(StringMatch(StringMatchKind.EXACT, value, not match.case_sensitive))
            below = text_match(StringMatch(StringMatchKind.PREFIX, f"{value}/", not match.case_sensitive))
            return lambda path, head: whole(path, head) or below(path, head)
    return text_match(StringMatch(kind, value, not match.case_sensitive))
