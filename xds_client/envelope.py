"""A response is opened piece by piece: protobuf that is cut between two fields is messages that add up to it.

One call into protobuf holds the interpreter until it is done; a response of 200,000 clusters would stop all threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds_client.errors import ProtocolError
from xds_client.turns import in_turns

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_RESOURCE = 16 << 20  # bytes: 100,000 endpoints; parsing holds up all threads, and so does copying
LONGEST_NAME = 4096  # characters: meshes have some hundred. What is longer is not remembered, nor is such a version
_PIECE = 64 << 10  # bytes; a resource is not cut
_WRAPPING = 64 << 10  # bytes of name, version and the like
_MOST_FIELDS = 500_000  # of one response: no mesh has so many resources, and an empty one is two bytes on the wire
_LONGEST_VARINT = 10


def pieces(data: bytes) -> Iterator[bytes | memoryview]:
    """``data`` in pieces of whole fields. What is too large to be taken is a view, one field and not copied.

    Raises `ProtocolError` where it cannot be told where a field ends.
    """
    if len(data) <= _PIECE:
        yield data
        return
    start = before = 0
    for end in in_turns(_ends_of_fields(data)):
        if end - before > LARGEST_RESOURCE + _WRAPPING:
            yield data[start:before]
            yield memoryview(data)[before:end]
            start = end
        elif end - start >= _PIECE:
            yield data[start:end]
            start = end
        before = end
    if start < len(data):
        yield data[start:]


def fields(data: memoryview) -> dict[int, memoryview]:
    """The last field of each number, of those that have a length. Raises `ProtocolError`."""
    found, start = {}, 0
    for end in _ends_of_fields(data):
        tag, at = _varint(data, start)
        if tag & 7 == 2:  # noqa: PLR2004 - as below
            _, at = _varint(data, at)
            found[tag >> 3] = data[at:end]
        start = end
    return found


def _ends_of_fields(data: bytes | memoryview) -> Iterator[int]:
    at = count = 0
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
        count += 1
        if count > _MOST_FIELDS:
            raise ProtocolError(f"a discovery response of more than {_MOST_FIELDS} resources")
        yield at
    if at > len(data):
        raise ProtocolError(f"{len(data)} bytes that are no discovery response: it is cut off")


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    for byte in data[at : at + _LONGEST_VARINT]:
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that it goes on
            return number, at
        shift += 7
    raise ProtocolError(f"{len(data)} bytes that are no discovery response: a number without an end")
