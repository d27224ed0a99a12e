"""Two frozen model values compared field by field: path by path, what the one says and what the other says."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

ABSENT = "(absent)"


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """Every leaf under its path: ``clusters[outbound|9080||a].cluster.lb_policy`` → ``ROUND_ROBIN``.

    Items of a tuple go by their name (or locality, or address) where they have one, so that one item more or less is
    one difference and not a shift of all that follow; the order of such items is a leaf of its own, ``path[]``.
    """
    if isinstance(value, Enum):
        return {path: value.name}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        leaves = {f"{path}:": type(value).__name__}
        for field in dataclasses.fields(value):
            leaves |= flatten(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)
        return leaves
    if isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value):
        keys = _keys(value)
        leaves = {f"{path}[]": " ".join(keys)}
        for key, item in zip(keys, value, strict=True):
            leaves |= flatten(item, f"{path}[{key}]")
        return leaves
    return {path: repr(value)}


def differences(one: Any, other: Any) -> dict[str, tuple[str, str]]:
    """Path → (what ``one`` says, what ``other`` says), for all paths where they differ."""
    left, right = flatten(one), flatten(other)
    return {
        path: (left.get(path, ABSENT), right.get(path, ABSENT))
        for path in sorted(left.keys() | right.keys())
        if left.get(path) != right.get(path)
    }


def _keys(items: tuple[Any, ...]) -> list[str]:
    keys = [_key(item) for item in items]
    if None in keys or len(set(keys)) < len(keys):
        return [str(number) for number in range(len(items))]
    return [str(key) for key in keys]


def _key(item: Any) -> str | None:
    if locality := getattr(item, "locality", None):
        return f"{locality.region}/{locality.zone}/{locality.sub_zone}"
    if address := getattr(item, "address", None):
        return f"{address}:{item.port}"
    return getattr(item, "name", None)
