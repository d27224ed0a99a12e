"""The routes of one virtual host, in order: the first that matches decides."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from typing import TYPE_CHECKING

from rpc.routing.match import compile_match
from xds_client.model import ForwardAction

if TYPE_CHECKING:
    from rpc.routing.match import RequestHead
    from xds_client.model import Route, VirtualHost


class CompiledRoute:
    """One route, ready to be asked per call. ``timeout`` in seconds, None = no limit from the route."""

    __slots__ = ("_bounds", "_names", "matches", "name", "timeout", "unsupported")

    def __init__(self, route: Route) -> None:
        self.name = route.name
        self.matches = compile_match(route.match)
        self.timeout: float | None = None
        self.unsupported: str | None = None
        self._names: tuple[str, ...] = ()
        self._bounds: tuple[int, ...] = ()
        if isinstance(route.action, ForwardAction):
            weighted = [cluster for cluster in route.action.clusters if cluster.weight > 0]
            self.timeout = route.action.timeout
            self._names = tuple(cluster.name for cluster in weighted)
            self._bounds = tuple(itertools.accumulate(cluster.weight for cluster in weighted))
        else:
            self.unsupported = route.action.kind

    def pick_cluster(self) -> str:
        """One of the route's clusters, by weight."""
        if len(self._names) == 1:
            return self._names[0]
        return self._names[bisect(self._bounds, random.randrange(self._bounds[-1]))]  # noqa: S311 - a share, not a secret


class RouteTable:
    """Immutable; made once per configuration."""

    def __init__(self, virtual_host: VirtualHost) -> None:
        """Compile all routes; raises `InvalidPatternError`."""
        self._routes = tuple(CompiledRoute(route) for route in virtual_host.routes)

    def route(self, head: RequestHead) -> CompiledRoute | None:
        for route in self._routes:
            if route.matches(head):
                return route
        return None
