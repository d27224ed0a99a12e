"""Whether a text is a JSON Web Key Set (RFC 7517), as far as istiod looks: no key is used here, nor made. Pure."""

import json
import string
from typing import Any

_NEEDED = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "oct": ("k",)}
_PRIVATE = ("d", "k")  # what only whoever signs may know
_WORDS = ("kid", "alg", "use", "crv")
_OF_BASE64 = frozenset(f"{string.ascii_letters}{string.digits}-_+/")


def fault_of_key_set(text: str) -> str | None:
    """Why it is none; None: it is one. A key alone is a set of one."""
    try:
        keys = _keys(text)
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {str(error)[:100]}"
    if keys is None:
        return 'has no list of "keys"'
    for number, key in enumerate(keys):
        if fault := _fault_of_key(key):
            return f"keys[{number}]: {fault}"
    return None


def has_private_keys(text: str) -> bool:
    """Of a key set: whether it says more than who verifies has to know."""
    return any(name in key for key in _keys(text) or () for name in _PRIVATE)


def _keys(text: str) -> list[Any] | None:
    found = json.loads(text)
    if not isinstance(found, dict):
        return None
    keys = (found["keys"] or []) if "keys" in found else [found]
    return keys if isinstance(keys, list) else None


def _fault_of_key(key: Any) -> str | None:
    if not isinstance(key, dict):
        return "is no object"
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in _NEEDED:
        return f"its kty is none of {', '.join(_NEEDED)}"
    for name in _NEEDED[kind]:
        if not isinstance(key.get(name), str):
            return f"{name} is missing"
        if name != "crv" and not _is_base64(key[name]):
            return f"{name} is not base64url"
    wrong = [name for name in _WORDS if not isinstance(key.get(name, ""), str)]
    return f"{wrong[0]} is no string" if wrong else None


def _is_base64(text: str) -> bool:
    bare = text.rstrip("=")
    padded = len(text) > len(bare)
    return _OF_BASE64.issuperset(bare) and len(bare) % 4 != 1 and (not padded or len(text) % 4 == 0)
