"""Requests that strangers wrote, read so that nothing but the request itself can fail. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import betterproto2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from queue import SimpleQueue

MessageT = TypeVar("MessageT", bound=betterproto2.Message)

_TYPES: dict[str, type] = {"string": str, "bytes": bytes, "message": object}  # the others are numbers


class Unreadable(ValueError):  # noqa: N818  # says what it is, as InvalidNode does
    """The bytes are no such message; INTERNAL, in gRPC's words."""


def read_into(requests: Iterator[bytes], queue: SimpleQueue[Any]) -> None:
    """All requests of a stream, and None when it is over; to be run by a thread of its own."""
    with suppress(Exception):  # however the client leaves (grpc raises a bare Exception), the stream is over
        for request in requests:
            queue.put(request)
    queue.put(None)


def parsed(kind: type[MessageT], request: bytes) -> MessageT:
    try:
        message = kind.parse(request)
        _check(message)
    except Exception as error:  # whatever a parser of others raises on garbage
        raise Unreadable(f"error unmarshalling request: {error!r:.200}") from error
    return message


def _check(message: betterproto2.Message) -> None:
    """betterproto2 takes a field of any wire type; what it then is, is found here and not where it is used."""
    for field in fields(message):  # type: ignore[arg-type]  # every message is a dataclass; the base class is not
        meta, value = field.metadata["betterproto"], getattr(message, field.name)
        if value is None and (meta.optional or meta.group):
            continue
        if meta.map_meta is not None:
            for key, item in value.items():
                _check_value(field.name, meta.map_meta[0].proto_type, key)
                _check_value(field.name, meta.map_meta[1].proto_type, item)
        else:
            for item in value if meta.repeated else (value,):
                _check_value(field.name, meta.proto_type, item)


def _check_value(name: str, kind: str, value: object) -> None:
    if value is None or not isinstance(value, _TYPES.get(kind, (int, float))):
        raise TypeError(f"{name} is not a {kind}")
    if isinstance(value, betterproto2.Message):
        _check(value)
