"""Whether a request is what a route asks for. Compiled once per configuration, run once per call.

Rules: envoy/config/route/v3/route_components.proto (RouteMatch, HeaderMatcher), and for gRPC metadata gRFC A28: binary
headers never match, several values of one name are joined by commas, content-type is application/grpc.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from rpc.routing.pattern import pattern_match
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

Text = Callable[[str], bool]
Metadata = Iterable[tuple[str, str | bytes]] | None
_PER_MILLION = 1_000_000
_INT64_DIGITS = 19


class RequestHead:
    """What matchers see of one request. Header values are joined when the first matcher asks."""

    __slots__ = ("_authority", "_headers", "_metadata", "path")

    def __init__(self, path: str, authority: str, metadata: Metadata) -> None:
        self.path = path
        self._authority = authority
        self._metadata = metadata
        self._headers: dict[str, str] | None = None

    def header(self, name: str) -> str | None:
        headers = self._headers
        if headers is None:
            headers = self._headers = {
                ":authority": self._authority,
                ":method": "POST",
                ":path": self.path,
                ":scheme": "http",
                "content-type": "application/grpc",
                "te": "trailers",
            }
            for key, value in self._metadata or ():
                if not key.endswith("-bin"):
                    text = value if isinstance(value, str) else value.decode("latin-1")
                    headers[key] = f"{headers[key]},{text}" if key in headers else text
        return headers.get(name)


Matcher = Callable[[RequestHead], bool]


def compile_match(match: RouteMatch) -> Matcher:
    """One predicate for the whole match; raises `InvalidPatternError`. It raises `TextTooLongError`."""
    path = _path(match.path)
    headers = tuple(_header(header) for header in match.headers)
    fraction = match.fraction_per_million
    if not headers and fraction is None:
        return lambda head: path(head.path)

    def matches(head: RequestHead) -> bool:
        if not path(head.path) or not all(header(head) for header in headers):
            return False
        return fraction is None or random.randrange(_PER_MILLION) < fraction  # noqa: S311 - a share, not a secret

    return matches


def _path(match: PathMatch) -> Text:
    value = match.value
    match match.kind:
        case PathMatchKind.EXACT:
            kind = StringMatchKind.EXACT
        case PathMatchKind.PREFIX:
            if value in {"", "/"}:
                return lambda _: True
            kind = StringMatchKind.PREFIX
        case PathMatchKind.REGEX:
            kind = StringMatchKind.REGEX
        case PathMatchKind.SEPARATED_PREFIX:
            whole = _text(StringMatch(StringMatchKind.EXACT, value, not match.case_sensitive))
            below = _text(StringMatch(StringMatchKind.PREFIX, f"{value}/", not match.case_sensitive))
            return lambda path: whole(path) or below(path)
    return _text(StringMatch(kind, value, not match.case_sensitive))


def _text(match: StringMatch) -> Text:
    value = match.value
    if match.kind is StringMatchKind.REGEX:
        return pattern_match(f"(?i){value}" if match.ignore_case else value)
    if match.ignore_case:
        folded = _text(StringMatch(match.kind, value.lower()))
        return lambda text: folded(text.lower())
    match match.kind:
        case StringMatchKind.EXACT:
            return lambda text: text == value
        case StringMatchKind.PREFIX:
            return lambda text: text.startswith(value)
        case StringMatchKind.SUFFIX:
            return lambda text: text.endswith(value)
        case StringMatchKind.CONTAINS:
            return lambda text: value in text


def _range(match: RangeMatch) -> Text:
    def within(text: str) -> bool:
        sign, digits = (text[0], text[1:]) if text[:1] in {"-", "+"} else ("", text)
        significant = digits.lstrip("0")
        if not (digits.isascii() and digits.isdigit()) or len(significant) > _INT64_DIGITS:
            return False  # what does not fit into 64 bits is no number to Envoy, and beyond every range
        return match.start <= int(f"{sign}{significant or 0}") < match.end

    return within


def _header(match: HeaderMatch) -> Matcher:
    name, invert = match.name, match.invert
    if isinstance(match.rule, PresentMatch):
        wanted = match.rule.present != invert
        return lambda head: (head.header(name) is not None) == wanted
    rule = _range(match.rule) if isinstance(match.rule, RangeMatch) else _text(match.rule)
    missing_as_empty = match.missing_as_empty

    def matches(head: RequestHead) -> bool:
        value = head.header(name)
        if value is None:
            if not missing_as_empty:
                return False  # a missing header matches nothing, inverted or not (HeaderMatcher.invert_match)
            value = ""
        return rule(value) != invert

    return matches
