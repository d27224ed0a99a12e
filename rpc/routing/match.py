"""Whether a request is what a route asks for. Compiled once per configuration, run once per call.

Rules: envoy/config/route/v3/route_components.proto (RouteMatch), as a sidecar carries them out.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeAlias

from rpc.header_match import ALL_PATHS, header_match, path_match
from xds_client.model import PathMatchKind, RouteMatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.request_head import RequestHead

_PER_MILLION = 1_000_000

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
    if not headers and fraction is None and match.path.kind is PathMatchKind.PREFIX and match.path.value in ALL_PATHS:
        return everything
    path = path_match(match.path)
    if not headers and fraction is None:
        return lambda head: path(head.path, head)

    def matches(head: RequestHead) -> bool:
        if not path(head.path, head) or not all(header(head) for header in headers):
            return False
        return fraction is None or random.randrange(_PER_MILLION) < fraction  # noqa: S311 - a share, not a secret

    return matches
