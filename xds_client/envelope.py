"""A response is opened piece by piece: protobuf that is cut between two fields is messages that add up to it.

One call into protobuf holds the interpreter until it is done; a response of 200,000 clusters would stop all threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds_client.errors import ProtocolError
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 64 << 10  # bytes; a resource is not cut
_MOST_FIELDS = 500_000  # of one response: no mesh has so many resources, and an empty one is two bytes on the wire
_LONGEST_VARINT = 10


def pieces(data: bytes) -> Iterator[bytes]:
    """``data`` in pieces of whole fields. Raises `ProtocolError` where it cannot be told where a field ends."""
    if len(data) <= _PIECE:
        yield data
        return
    start = 0
    for end in in_turns(_ends_of_fields(data)):
        if end - start >= _PIECE:
            yield data[start:end]
            start = end
    if start < len(data):
        yield data[start:]


def _ends_of_fields(data: bytes) -> Iterator[int]:
    at = fields = 0
    while at < len(data):
        tag, at = _varint(data, at)
        match tag & 7:
            case 2:
                length, at = _varint(data, at)
                at += length
            case 0:
                _, at = _varint(data, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case wire_type:
                raise ProtocolError(f"{len(data)} bytes that are no discovery response: a field of type {wire_type}")
        fields += 1
        if fields > _MOST_FIELDS:
            raise ProtocolError(f"a discovery response of more than {_MOST_FIELDS} resources")
        yield at
    if at > len(data):
        raise ProtocolError(f"{len(data)} bytes that are no discovery response: it is cut off")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that it goes on
            return number, at
        shift += 7
    raise ProtocolError(f"{len(data)} bytes that are no discovery response: a number without an end")
