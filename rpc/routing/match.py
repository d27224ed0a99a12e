"""Whether a request is what a route asks for. Compiled once per configuration, run once per call.

Rules: envoy/config/route/v3/route_components.proto (RouteMatch, HeaderMatcher), as a sidecar carries them out; gRPC's
own clients differ (gRFC A28: binary headers never match, values of one name are joined by commas).
"""

from __future__ import annotations

import base64
import random
import string
import time
import uuid
from collections.abc import Callable, Iterable

from rpc.routing.pattern import PatternWork, pattern_match
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

Metadata = Iterable[tuple[str, str | bytes]] | None
_PER_MILLION = 1_000_000
_INT64_DIGITS = 19
_TIMEOUT_LIMIT = 100_000_000
_ALL_PATHS = frozenset({"", "/"})  # prefixes that each path begins with
_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class RequestHead(PatternWork):
    """What matchers see of one request: what a sidecar would. Headers are put together when the first matcher asks.

    ``deadline`` is the caller's own, on the monotonic clock.
    """

    __slots__ = ("_authority", "_deadline", "_headers", "_user_agent", "metadata", "path")

    def __init__(
        self, path: str, authority: str, metadata: Metadata, user_agent: str = "", deadline: float | None = None
    ) -> None:
        self._work = 0
        self.path = path
        self._authority = authority
        self.metadata = metadata
        self._user_agent = user_agent
        self._deadline = deadline
        self._headers: dict[str, list[str]] | None = None

    def values(self, name: str) -> list[str]:
        """Each value that the header comes with; none: it does not come."""
        headers = self._headers
        if headers is None:
            headers = self._headers = self._all()
        if name not in headers and name in _BY_SIDECARS:
            headers[name] = [_BY_SIDECARS[name]()]
        return headers.get(name, [])

    def _all(self) -> dict[str, list[str]]:
        headers = {
            ":authority": [self._authority],
            "host": [self._authority],  # Envoy's other name for it
            ":method": ["POST"],
            ":path": [self.path],
            ":scheme": ["http"],
            "content-type": ["application/grpc"],
            "te": ["trailers"],
        }
        if self._user_agent:
            headers["user-agent"] = [self._user_agent]
        if self._deadline is not None:
            headers["grpc-timeout"] = [_grpc_timeout(self._deadline - time.monotonic())]
        fixed = frozenset((*headers, "user-agent", "grpc-timeout"))  # the engine's to say, once
        for key, value in self.metadata or ():
            if key not in fixed:
                headers.setdefault(key, []).append(_on_the_wire(key, value))
        return headers


# What a sidecar adds before it looks for a route, if the program has not: HTTP's scheme, and an id of the request.
_BY_SIDECARS: dict[str, Callable[[], str]] = {
    "x-forwarded-proto": lambda: "http",
    "x-request-id": lambda: str(uuid.uuid4()),
}


def _on_the_wire(key: str, value: str | bytes) -> str:
    if key.endswith("-bin"):
        raw = value if isinstance(value, bytes) else value.encode()
        return base64.b64encode(raw).decode().rstrip("=")
    return value if isinstance(value, str) else value.decode("latin-1")


def _grpc_timeout(seconds: float) -> str:
    """As the engine will write it (native/core/src/grpc/timeout.rs), but for what passes until then."""
    micros = max(1, int(seconds * 1_000_000))
    for unit, size in (("u", 1), ("m", 1_000), ("S", 1_000_000), ("M", 60_000_000)):
        amount = -(-micros // size)
        if amount < _TIMEOUT_LIMIT:
            return f"{amount}{unit}"
    return f"{min(-(-micros // 3_600_000_000), _TIMEOUT_LIMIT - 1)}H"


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
