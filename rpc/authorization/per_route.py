"""What the inbound routes of a chain say to one of its filters (``typed_per_filter_config``).

Istiod's inbound tables have one route for everything. Where another table tells requests apart, and only some of its
routes speak to a filter, the chain is closed: nobody looks for a request's route here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rpc.authorization.program import CannotCarryOutError
from xds_client.model import FilterOverride, PathMatch, PathMatchKind, RouteMatch

if TYPE_CHECKING:
    from rpc.authorization.program import Surroundings
    from xds_client.model import Route, RouteConfiguration, VirtualHost

T = TypeVar("T")
_EVERYTHING = RouteMatch(PathMatch(PathMatchKind.PREFIX, "/"))


class Said(NamedTuple):
    """``values``: the least specific first; ``disabled``: by the most specific that speaks of it; None: nobody does."""

    values: tuple[object, ...] = ()
    disabled: bool | None = None


def only_route(routes: RouteConfiguration) -> tuple[VirtualHost, Route] | None:
    """The one for every request; None: it depends on the request."""
    if len(routes.virtual_hosts) != 1 or "*" not in routes.virtual_hosts[0].domains:
        return None
    (host,) = routes.virtual_hosts
    if len(host.routes) != 1 or host.routes[0].match != _EVERYTHING or host.require_tls:
        return None
    return host, host.routes[0]


def routes_speak_to(around: Surroundings) -> bool:
    """Whether anybody in the chain's routes says something to the filter."""
    routes = around.manager.routes if around.manager is not None else None
    return routes is not None and any(name == around.name for name, _ in routes.said_to_filters())


def said_by_routes(around: Surroundings, kind: type[T]) -> tuple[tuple[T, ...], bool | None]:
    """To the filter, each a ``kind``, and `Said.disabled`. Raises `CannotCarryOutError`."""
    said = _said(around)
    values = []
    for value in said.values:
        if not isinstance(value, kind):
            problem = getattr(value, "problem", "") or f"is a {type(value).__name__}"
            raise CannotCarryOutError(f"what its routes say of it {problem}")
        values.append(value)
    return tuple(values), said.disabled


def _said(around: Surroundings) -> Said:
    routes = around.manager.routes if around.manager is not None else None
    if routes is None or not routes_speak_to(around):
        return Said()
    only = only_route(routes)
    if only is None:
        raise CannotCarryOutError("some of its routes say something else of it")
    host, route = only
    values, disabled = [], None
    for said in (routes.terms.typed_per_filter_config, host.typed_per_filter_config, route.typed_per_filter_config):
        for name, value in said:
            if name != around.name:
                continue
            if isinstance(value, FilterOverride):
                disabled = value.disabled
                value = value.config  # noqa: PLW2901 - what it wraps
            if value is not None:
                values.append(value)
    return Said(tuple(values), disabled)
