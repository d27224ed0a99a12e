"""Whether a request is what a route asks for. Compiled once per configuration, run once per call.

Rules: envoy/config/route/v3/route_components.proto (RouteMatch), as a sidecar carries them out.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeAlias

from rpc.header_match import header_match, text_match
from xds_client.model import PathMatch, PathMatchKind, RouteMatch, StringMatch, StringMatchKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.header_match import Text
    from rpc.request_head import RequestHead

_PER_MILLION = 1_000_000
_ALL_PATHS = frozenset({"", "/"})  # prefixes that each path begins with

Matcher: TypeAlias = "Callable[[RequestHead], bool]"


def everything(_: RequestHead) -> bool:
    """Matches every request."""
    return True


def compile_match(match: RouteMatch) -> Matcher:
    """One predicate for the whole match; raises `InvalidPatternError`. It raises `TextTooLongError`."""
    if match.never:
        return lambda _: False
    headers = tuple(header_match(header) for header in match.headers)
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
            whole = text_match(StringMatch(StringMatchKind.EXACT, value, not match.case_sensitive))
            below = text_match(StringMatch(StringMatchKind.PREFIX, f"{value}/", not match.case_sensitive))
            return lambda path, head: whole(path, head) or below(path, head)
    return text_match(StringMatch(kind, value, not match.case_sensitive))
