"""Large responses are decoded on a thread of their own, so that others, above all a listener's, overtake them.

Responses of one type stay in order: while one is decoded, later ones of its type wait behind it, small ones too. The
types take turns, one response each, so that many endpoints do not hold up clusters, nor clusters endpoints.
Confined to the exchanger's thread but for `_decode`, which touches nothing but the response it was given.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from xds_client.codec import Resources
from xds_client.decode import Parsed, content
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType
from xds_client.threads import begun

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.codec import DeltaResponse, WireResource

logger = logging.getLogger(f"proxyless.{__name__}")

_LARGE = 128 << 10  # bytes; about a thousand endpoints, which take some ten milliseconds
# What waits here, in bytes; the stream is not read on beyond that, so memory stays bounded. No count of responses: a
# few large ones would keep a listener behind them from being read at all.
_MOST = 64 << 20
_LEAST = 2 << 10  # bytes that a response takes in memory, however small it came

# Clusters come all at once, and most are never looked at: they are decoded when something wants them.
_DECODED_AT_ONCE = (ResourceType.ENDPOINT, ResourceType.ROUTE)
_KINDS = {kind.value: kind for kind in ResourceType if kind is not ResourceType.LISTENER}

_Waiting = tuple[int, "DeltaResponse", int]  # serial of the stream, response, bytes


class BulkDecoding:
    """``post`` runs a job on the exchanger's thread; ``done`` is told each response there, in order by type."""

    def __init__(self, post: Callable[[Callable[[], None]], None], done: Callable[[int, DeltaResponse], None]) -> None:
        self._post = post
        self._done = done
        # By type, clusters first as pushed; who had a turn goes to the end. The turn's first one is being decoded.
        self._waiting: dict[str, deque[_Waiting]] = {type_url: deque() for type_url in _KINDS}
        self._turn: str | None = None
        self._bytes = 0

    def holds(self, kind: ResourceType) -> bool:
        """Whether something of the type waits here."""
        return bool(self._waiting.get(kind.value))

    @property
    def full(self) -> bool:
        return self._bytes >= _MOST

    def takes(self, response: DeltaResponse, size: int) -> bool:
        """Whether the response has to go this way. A listener never does: who may come in must not wait."""
        if response.type_url not in _KINDS:
            return False
        return size >= _LARGE or bool(self._waiting[response.type_url])

    def put(self, serial: int, response: DeltaResponse, size: int) -> None:
        size = max(size, _LEAST)
        self._bytes += size
        self._waiting[response.type_url].append((serial, response, size))
        if self._turn is None:
            self._begin()

    def inherit(self) -> None:
        """In the child of a fork: what waited is asked for again."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._turn, self._bytes = None, 0

    def _begin(self) -> None:
        self._turn = next((type_url for type_url, waiting in self._waiting.items() if waiting), None)
        if self._turn is None:
            return
        response = self._waiting[self._turn][0][1]
        if begun(self._decode, "xds-decode", response) is None:
            self._decode(response)  # here, then: late, but the stream goes on

    def _decode(self, response: DeltaResponse) -> None:
        decoded = response
        try:
            kind = _KINDS[response.type_url]
            resources = Resources()
            for resource in response.resources:
                resources.append(_parsed(kind, resource))
            decoded = replace(response, resources=resources)
        except Exception:  # a bug of ours: the session meets it again, and it costs this response alone
            logger.exception("decoding a response of %s failed", response.type_url)
        self._post(lambda: self._decoded(response, decoded))

    def _decoded(self, response: DeltaResponse, decoded: DeltaResponse) -> None:
        waiting = self._waiting[response.type_url]
        if not waiting or waiting[0][1] is not response:
            return  # the parent's
        serial, _, size = waiting.popleft()
        self._bytes -= size
        self._waiting[response.type_url] = self._waiting.pop(response.type_url)
        self._begin()
        self._done(serial, decoded)


def _parsed(kind: ResourceType, resource: WireResource) -> WireResource:
    if resource.data is None:
        return resource
    try:
        parsed = content(kind, resource.name, resource.type_url, resource.data)
        if kind in _DECODED_AT_ONCE and isinstance(parsed, Parsed):
            parsed.settle()
    except DecodeError as error:
        return replace(resource, parsed=error.kept())
    return replace(resource, parsed=parsed)
