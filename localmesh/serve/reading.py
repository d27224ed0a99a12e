"""Requests that strangers wrote, read so that nothing but the request itself can fail. Pure."""

from __future__ import annotations

from typing import TypeVar

import betterproto2

MessageT = TypeVar("MessageT", bound=betterproto2.Message)


class Unreadable(ValueError):  # noqa: N818  # says what it is, as InvalidNode does
    """The bytes are no such message; INTERNAL, in gRPC's words."""


def parsed(kind: type[MessageT], request: bytes) -> MessageT:
    try:
        return kind.parse(request)
    except Exception as error:  # whatever a parser of others raises on garbage
        raise Unreadable(f"error unmarshalling request: {error!r:.200}") from error
