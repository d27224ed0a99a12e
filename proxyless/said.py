"""What the mesh said, for people: each attribute that is another one than if nothing had been said."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from proxyless.plain import plain
from xds_client.model import DeferredMetadata, Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def said(value: object, obeyed: Collection[str] = ()) -> Iterator[str]:
    """One line for each attribute; not for those that are ``obeyed``, which are told in other words."""
    if isinstance(value, DeferredMetadata):
        value = value.value
    if is_dataclass(value):
        for field in fields(value):
            entry = getattr(value, field.name)
            if field.name not in obeyed and entry != field.default and field.repr:
                yield f"{field.name}: {json.dumps(_short(entry), ensure_ascii=False, default=str)}"


def _short(value: object) -> Any:
    """As `plain`, without what is not said."""
    if isinstance(value, tuple):
        return [_short(entry) for entry in value]
    if not is_dataclass(value) or isinstance(value, Struct):
        return plain(value)
    named = ((field, getattr(value, field.name)) for field in fields(value) if field.repr)
    return {field.name: _short(entry) for field, entry in named if entry != field.default}
