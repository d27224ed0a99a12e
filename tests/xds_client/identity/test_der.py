from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xds_client.identity.der import split_der


def sequence(content):
    size = len(content)
    if size < 128:
        return bytes([0x30, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x30, 0x80 + len(length)]) + length + content


@given(st.lists(st.binary(max_size=300)))
def test_what_is_put_together_comes_apart(contents):
    parts = [sequence(content) for content in contents]
    assert list(split_der(b"".join(parts))) == parts


@given(st.binary(max_size=50))
def test_anything_else_is_a_value_error_or_comes_apart_whole(data):
    try:
        parts = list(split_der(data))
    except ValueError:
        return
    assert b"".join(parts) == data


@given(st.binary(min_size=1, max_size=300), st.data())
def test_cut_anywhere(content, data):
    whole = sequence(content)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(ValueError, match=r"DER|ends beyond"):
        list(split_der(whole[:cut]))
