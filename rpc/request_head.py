"""What is known of a request before it is sent: what routes match, and what pickers may look at."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING

from rpc.header_match import Headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Metadata = Iterable[tuple[str, str | bytes]] | None

_TIMEOUT_LIMIT = 100_000_000


class RequestHead(Headers):
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
