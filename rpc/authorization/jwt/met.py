"""Requests whose token was met before: one lookup by what stands in the header, and none of the tree of requirements.

Only where the same header means the same again: one token, no query, no other place to look at, and no requirement that
failed for a reason that time may mend. What time or new keys may change is looked at each time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rpc.authorization.jwt.places import InHeader, InParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rpc.authorization.jwt.places import Place
    from rpc.authorization.jwt.provider import Look, Passed
    from rpc.authorization.request import Request

_MOST = 1000
_LONGEST = 4096  # bytes of one


def header_of(where: Iterable[Place]) -> str:
    """The one header that tokens may stand in; empty: there are more, or other places than queries."""
    names = {place.name for place in where if isinstance(place, InHeader)}
    plain = all(isinstance(place, (InHeader, InParameter)) for place in where)
    return names.pop() if plain and len(names) == 1 else ""


class Met:
    def __init__(self, header: str) -> None:
        self._header = header
        self._known: dict[bytes, Passed] = {}
        self._remembering = threading.Lock()

    def known(self, request: Request) -> tuple[bytes | None, Passed | None]:
        """What the request shows, None where it shows no one thing, and what that has meant."""
        values = request.head.values(self._header)
        if len(values) != 1 or "?" in request.head.path:
            return None, None
        return values[0], self._known.get(values[0])

    def remember(self, shown: bytes, look: Look) -> None:
        if look.doubted or len(look.passed) != 1 or len(shown) > _LONGEST:
            return
        with self._remembering:
            while len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[shown] = look.passed[0]
