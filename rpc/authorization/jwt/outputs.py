"""What goes on of a good token: claims as policies match them, and claims as headers, in Envoy's spelling. Pure."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rpc.authorization.jwt.text import Json

# What protobuf writes as an escape beside what JSON has to have so: angle brackets, and signs that nobody sees.
_HIDDEN = [
    (0x3C, 0x3C), (0x3E, 0x3E), (0xAD, 0xAD), (0x600, 0x603), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x17B4, 0x17B5),
    (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x2064), (0x206A, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB),
]  # fmt: skip
_ESCAPES = {code: f"\\u{code:04x}" for first, last in _HIDDEN for code in range(first, last + 1)}
_BEYOND = 2.0**64


def normalised(claims: Mapping[str, Json], spaced: Collection[str]) -> dict[str, Json]:
    """Claims that name several things in one text, with spaces between them, are lists."""
    found = dict(claims)
    for name in spaced:
        said = found.get(name)
        if isinstance(said, str) and (several := [one for one in said.split(" ") if one]):
            found[name] = [*several]
    return found


def header_value(claims: Mapping[str, Json], path: str) -> str:
    """A claim as a header's value, dots lead into claims of claims; empty: there is none to show."""
    found: Json = dict(claims)
    for name in path.split("."):
        if not isinstance(found, dict):
            return ""
        found = found.get(name)
    if isinstance(found, (dict, list)):
        return base64.b64encode(_json(found).encode()).decode()
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, (int, float)):
        return _number(float(found))
    return found or ""


def _number(value: float) -> str:
    return str(int(value)) if 0 <= value < _BEYOND and value.is_integer() else f"{value:f}"


def _json(value: Json) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(name)}:{_json(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_ESCAPES)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        short = f"{float(value):.15g}"
        return short if float(short) == float(value) else f"{float(value):.17g}"
    return json.dumps(value)
