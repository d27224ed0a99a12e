"""Filters of listeners, connections and HTTP: each is known by the type of its configuration. Pure functions.

Names are chosen freely by whoever writes the configuration, and say nothing about what a filter does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from envoy.extensions.filters.http.router.v3 import router_pb2  # type: ignore[import-untyped]
from envoy.extensions.filters.network.http_connection_manager.v3 import (  # type: ignore[import-untyped]
    http_connection_manager_pb2,
)
from google.protobuf.message import DecodeError as WireError
from udpa.type.v1 import typed_struct_pb2 as udpa_typed_struct_pb2  # type: ignore[import-untyped]
from xds.type.v3 import typed_struct_pb2  # type: ignore[import-untyped]

from xds_client.decode.fields import inside, unpacked
from xds_client.model import ExtensionConfig, Filter

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUTER = router_pb2.Router.DESCRIPTOR.full_name
_CONTAINERS = (_ROUTER, http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR.full_name)
_TYPED_STRUCTS = (typed_struct_pb2.TypedStruct, udpa_typed_struct_pb2.TypedStruct)


def connection_filter(message: Any) -> Filter:
    """A network filter, or one of a listener."""
    if message.WhichOneof("config_type") == "config_discovery":
        return _discovered(message)
    found = type_of(message.typed_config)
    if found in _CONTAINERS and not message.typed_config.type_url.endswith(f"/{found}"):
        return Filter(message.name, unknown=f"{found} as a struct, into which nobody looks")
    return Filter(message.name, found)


def http_filters(manager: Any) -> tuple[Filter, ...]:
    """Those of an HttpConnectionManager; a router in it may have filters of its own, towards where it goes, and a kind
    of upgrade may have other ones instead.
    """
    found = list(_http_filters("http_filters", manager.http_filters))
    for number, upgrade in enumerate(manager.upgrade_configs):
        found += _http_filters(f"upgrade_configs[{number}].filters", upgrade.filters)
    return tuple(found)


def _http_filters(field: str, messages: Any) -> Iterator[Filter]:
    for number, said in enumerate(messages):
        yield connection_filter(said)
        if said.typed_config.Is(router_pb2.Router.DESCRIPTOR):
            router = inside(f"{field}[{number}].typed_config", _router, said.typed_config)
            yield from map(_behind_router, router.upstream_http_filters)


def _behind_router(message: Any) -> Filter:
    """Nobody looks into a router that is one of them, which Envoy does not take either."""
    found = connection_filter(message)
    return replace(found, type="", unknown="a router in a router") if found.type == _ROUTER else found


def extension_config(message: Any) -> ExtensionConfig:
    return ExtensionConfig(message.name, type_of(message.typed_config))


def type_of(packed: Any) -> str:
    """Of an Any: the message's full name; of a struct that says whose it is, that name. Empty: nothing is said."""
    for struct in _TYPED_STRUCTS:
        if packed.Is(struct.DESCRIPTOR):
            try:
                return _name(struct.FromString(packed.value).type_url)
            except WireError:
                break
    return _name(packed.type_url)


def _router(packed: Any) -> Any:
    return unpacked(packed, router_pb2.Router)


def _discovered(message: Any) -> Filter:
    said = message.config_discovery
    permitted = tuple(_name(url) for url in said.type_urls)
    if not said.config_source.HasField("ads"):
        # Not `discovered`: what the control plane calls by the same name is something else.
        return Filter(message.name, unknown="its configuration does not come by ADS")
    return Filter(message.name, discovered=True, permitted=permitted, unknown="its configuration has not come yet")


def _name(type_url: str) -> str:
    return type_url.rpartition("/")[2]
