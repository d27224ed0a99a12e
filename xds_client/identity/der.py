"""Certificates in DER one after the other, as SPIFFE sends them. A pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE = 0x30
_LONG = 0x80  # the length's own first byte says how many follow
_MOST = 4  # bytes of length


def split_der(data: bytes) -> Iterator[bytes]:
    """Each SEQUENCE by itself (X.690, 8.1.3); raises `ValueError` at what is none."""
    at = 0
    while at < len(data):
        if data[at] != _SEQUENCE or at + 2 > len(data):
            raise ValueError(f"no DER SEQUENCE at byte {at} of {len(data)}")
        length, start = data[at + 1], at + 2
        if length >= _LONG:
            size = length - _LONG
            if not 0 < size <= _MOST or start + size > len(data):
                raise ValueError(f"no DER length at byte {at + 1} of {len(data)}")
            length, start = int.from_bytes(data[start : start + size]), start + size
        if start + length > len(data):
            raise ValueError(f"the SEQUENCE at byte {at} ends beyond the {len(data)} bytes that there are")
        yield data[at : start + length]
        at = start + length
