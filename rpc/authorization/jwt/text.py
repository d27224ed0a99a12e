"""Base64url and JSON as Envoy reads them in tokens and key sets (absl, and protobuf's parser into a ``Struct``).

Stricter than Envoy in one thing: its JSON parser takes single quotes, names without quotes and a comma too many. Both
refuse a name twice in one object, since two readers could see two different claims.
"""

from __future__ import annotations

import base64
import json
import math
import string
from typing import Any, TypeAlias, Union

Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]

_DEEPEST = 100  # objects and lists in each other, the whole included
_ALPHABET = (string.ascii_letters + string.digits + "-_").encode()
_SPACES = b" \t\n\v\f\r"


def unescape(encoded: bytes) -> bytes | None:
    """Base64url, with its padding or without; white space does not count. None: it is something else."""
    encoded = encoded.translate(None, _SPACES)
    bare = encoded.rstrip(b"=")
    padding = -len(bare) % 4
    if len(bare) % 4 == 1 or len(encoded) - len(bare) not in (0, padding) or bare.translate(None, _ALPHABET):
        return None
    return base64.urlsafe_b64decode(bare + b"=" * padding)


def read_object(text: bytes) -> dict[str, Json] | None:
    """A JSON object; ``null`` is an empty one. None: it is something else."""
    try:
        found = _decoder.decode(text.decode())
        if b"\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate is no text
    except (ValueError, RecursionError):
        return None
    if found is None:
        return {}
    if not isinstance(found, dict) or (text.count(b"{") + text.count(b"[") > _DEEPEST and _depth(found) > _DEEPEST):
        return None
    return found


def _depth(value: Json) -> int:
    """Level by level: no stack of ours grows with what somebody sent."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        level = [child for one in level for child in (one.values() if isinstance(one, dict) else one)]
    return depth


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _integer(text: str) -> int:
    _fraction(text)
    return int(text)


def _fraction(text: str) -> float:
    """Numbers are those that a double holds."""
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:20]} is beyond all numbers")
    return found


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant, strict=False
)
