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

from xds_client.decode import http_filters as known_filters
from xds_client.decode.extensions import deferred, name_of, type_of
from xds_client.decode.fields import inside, unpacked
from xds_client.model import Deferred, ExtensionConfig, Filter

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUTER = router_pb2.Router.DESCRIPTOR.full_name
_CONTAINERS = (_ROUTER, http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR.full_name)
assert known_filters  # the tables of those that have values
_LISTENER = "envoy.extensions.filters.listener."


def connection_filter(message: Any) -> Filter:
    """A network filter, or one of a listener."""
    if message.WhichOneof("config_type") == "config_discovery":
        return _discovered(message)
    found = type_of(message.typed_config)
    if found in _CONTAINERS and not message.typed_config.type_url.endswith(f"/{found}"):
        return Filter(message.name, unknown=f"{found} as a struct, into which nobody looks")
    return Filter(
        message.name,
        found,
        packed=_config(message.typed_config, found),
        disabled=getattr(message, "disabled", False),
        is_optional=getattr(message, "is_optional", False),
    )


def _config(said: Any, kind: str) -> Deferred[Any] | None:
    """What stands in a container is told elsewhere; listener filters look, and say what they look at (`Inspector`)."""
    return None if not kind or kind in _CONTAINERS or kind.startswith(_LISTENER) else deferred(said)


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
    found = type_of(message.typed_config)
    return ExtensionConfig(message.name, found, _config(message.typed_config, found))


def _router(packed: Any) -> Any:
    return unpacked(packed, router_pb2.Router)


def _discovered(message: Any) -> Filter:
    said = message.config_discovery
    found = Filter(
        message.name,
        permitted=tuple(name_of(url) for url in said.type_urls),
        disabled=getattr(message, "disabled", False),
        is_optional=getattr(message, "is_optional", False),
    )
    if not said.config_source.HasField("ads"):
        # Not `discovered`: what the control plane calls by the same name is something else.
        return replace(found, unknown="its configuration does not come by ADS")
    return replace(
        found,
        discovered=True,
        packed_default=_config(said.default_config, type_of(said.default_config)),
        unknown="its configuration has not come yet",
    )
