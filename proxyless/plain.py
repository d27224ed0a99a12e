"""Typed values as JSON knows them. Follows the model: a field added there appears here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from xds_client.model import ClusterConfig, Deferred, MeshSecret, Struct, SystemRoots

# Properties that read what is kept as bytes.
_READ = ("config", "default_config", "http")
# Names of what is a map to the mesh, and pairs in the model.
_PAIRS = ("labels", "typed_per_filter_config", "filter_metadata")


def plain(value: object) -> Any:
    """Dataclasses become objects, enumerations their words, labels objects; endpoints say by which TLS."""
    if isinstance(value, Deferred):
        value = value.value
    match value:
        case ClusterConfig():
            return _fields(value) | {"endpoints": _endpoints(value)}
        case Mapping():
            return {str(key): plain(entry) for key, entry in value.items()}
        case tuple() | frozenset():
            entries = [plain(entry) for entry in value]
            return sorted(entries) if isinstance(value, frozenset) else entries
        case Struct():
            return {key: plain(entry) for key, entry in value.fields}
        case MeshSecret() | SystemRoots():
            return type(value).__name__
    return _fields(value) if is_dataclass(value) else _scalar(value)


def _scalar(value: object) -> Any:
    match value:
        case Enum():
            return value.value
        case bytes():
            return value.decode(errors="replace")
        case Exception() | IPv4Network() | IPv6Network():
            return str(value)
    return value


def _fields(value: object) -> dict[str, Any]:
    assert is_dataclass(value)
    # What is not for a repr is a secret, or bytes that a property reads.
    names = [field.name for field in fields(value) if field.repr]
    names += [name for name in _READ if isinstance(getattr(type(value), name, None), property)]
    named = {name: getattr(value, name) for name in names}
    return {name: _pairs(entry) if name.endswith(_PAIRS) else plain(entry) for name, entry in named.items()}


def _pairs(value: Any) -> Any:
    return {key: plain(entry) for key, entry in value} if isinstance(value, tuple) else plain(value)


def _endpoints(config: ClusterConfig) -> Any:
    if config.endpoints is None or config.cluster is None:
        return plain(config.endpoints)
    tls_for = config.cluster.tls_for
    localities = [
        _fields(group)
        | {"endpoints": [_fields(endpoint) | {"tls": plain(tls_for(endpoint))} for endpoint in group.endpoints]}
        for group in config.endpoints.localities
    ]
    return {"name": config.endpoints.name, "localities": localities, "left_out": [*config.endpoints.left_out]}
