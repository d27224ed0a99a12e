"""Large responses are decoded on a thread of their own, so that others, above all a listener's, overtake them.

Responses of one type stay in order: while one is decoded, later ones of its type wait behind it, small ones too.
Confined to the exchanger's thread but for `_decode`, which touches nothing but the response it was given.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from xds_client.codec import Resources
from xds_client.decode import Parsed, content
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client.codec import DeltaResponse, WireResource

logger = logging.getLogger(__name__)

_LARGE = 128 << 10  # bytes; about a thousand endpoints, which take some ten milliseconds
_MOST = 3  # responses that wait here; the stream is not read on beyond that, so memory stays bounded

# Clusters come all at once, and most are never looked at: they are decoded when something wants them.
_DECODED_AT_ONCE = (ResourceType.ENDPOINT, ResourceType.ROUTE)
_KINDS = {kind.value: kind for kind in ResourceType if kind is not ResourceType.LISTENER}


class BulkDecoding:
    """``post`` runs a job on the exchanger's thread; ``done`` is told each response there, in order by type."""

    def __init__(self, post: Callable[[Callable[[], None]], None], done: Callable[[int, DeltaResponse], None]) -> None:
        self._post = post
        self._done = done
        self._waiting: deque[tuple[int, DeltaResponse]] = deque()  # the first one is being decoded

    @property
    def full(self) -> bool:
        return len(self._waiting) >= _MOST

    def takes(self, response: DeltaResponse, size: int) -> bool:
        """Whether the response has to go this way. A listener never does: who may come in must not wait."""
        if response.type_url not in _KINDS:
            return False
        return size >= _LARGE or any(other.type_url == response.type_url for _, other in self._waiting)

    def put(self, serial: int, response: DeltaResponse) -> None:
        self._waiting.append((serial, response))
        if len(self._waiting) == 1:
            self._begin()

    def inherit(self) -> None:
        """In the child of a fork: what waited is asked for again."""
        self._waiting.clear()

    def _begin(self) -> None:
        response = self._waiting[0][1]
        threading.Thread(target=self._decode, args=(response,), name="xds-decode", daemon=True).start()

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
        if not self._waiting or self._waiting[0][1] is not response:
            return  # the parent's
        serial, _ = self._waiting.popleft()
        if self._waiting:
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
        return replace(resource, parsed=error)
    return replace(resource, parsed=parsed)
