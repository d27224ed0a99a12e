"""Requests that strangers wrote, read so that nothing but the request itself can fail. Pure."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from queue import SimpleQueue


class Unreadable(ValueError):  # noqa: N818  # says what it is, as InvalidNode does
    """The bytes are no such message; INTERNAL, in gRPC's words."""


def read_into(requests: Iterator[bytes], queue: SimpleQueue[Any]) -> None:
    """All requests of a stream, and None when it is over; to be run by a thread of its own."""
    with suppress(Exception):  # however the client leaves (grpc raises a bare Exception), the stream is over
        for request in requests:
            queue.put(request)
    queue.put(None)


def parsed(kind: Any, request: bytes) -> Any:
    """A message of the class ``kind``; raises `Unreadable`."""
    try:
        return kind.FromString(request)
    except DecodeError as error:
        raise Unreadable(f"error unmarshalling request: {error!r:.200}") from error
