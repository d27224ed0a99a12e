"""The routes of one virtual host, in order: the first that matches decides."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from typing import TYPE_CHECKING

from rpc.routing.match import compile_match
from rpc.routing.pattern import TextTooLongError
from xds_client.model import ForwardAction, PathMatch, PathMatchKind, Route, RouteMatch, UnsupportedAction

if TYPE_CHECKING:
    from rpc.routing.match import RequestHead
    from xds_client.model import VirtualHost


class CompiledRoute:
    """One route, ready to be asked per call. ``timeout`` in seconds, None = no limit; ``limit`` is it in words."""

    __slots__ = ("_bounds", "_names", "limit", "matches", "name", "timeout", "unsupported")

    def __init__(self, route: Route) -> None:
        self.name = route.name
        self.matches = compile_match(route.match)
        self.timeout: float | None = None
        self.limit = ""
        self.unsupported: str | None = None
        self._names: tuple[str, ...] = ()
        self._bounds: tuple[int, ...] = ()
        if isinstance(route.action, ForwardAction):
            weighted = [cluster for cluster in route.action.clusters if cluster.weight > 0]
            self.timeout = route.action.timeout
            self.limit = "" if self.timeout is None else f"{self} allows {self.timeout:g} s"
            self._names = tuple(cluster.name for cluster in weighted)
            self._bounds = tuple(itertools.accumulate(cluster.weight for cluster in weighted))
        else:
            self.unsupported = route.action.kind

    def __str__(self) -> str:
        return f"route {self.name!r}" if self.name else "the route, which has no name,"

    def pick_cluster(self) -> str:
        """One of the route's clusters, by weight."""
        if len(self._names) == 1:
            return self._names[0]
        return self._names[bisect(self._bounds, random.randrange(self._bounds[-1]))]  # noqa: S311 - a share, not a secret


# What Envoy answers for a virtual host that requires TLS; gRPC follows no redirects.
_TO_TLS = CompiledRoute(
    Route("", RouteMatch(PathMatch(PathMatchKind.PREFIX, "")), UnsupportedAction("a redirect to https (require_tls)"))
)


class RouteTable:
    """Immutable; made once per configuration. ``never``: which routes match no request, and why."""

    def __init__(self, virtual_host: VirtualHost) -> None:
        """Compile all routes; raises `InvalidPatternError`."""
        self._routes = tuple(CompiledRoute(route) for route in virtual_host.routes)
        self._name = virtual_host.name
        self._require_tls = virtual_host.require_tls
        self.never = frozenset(
            f"route {route.name!r} of {virtual_host.name!r} matches no request: {route.match.never}"
            for route in virtual_host.routes
            if route.match.never
        )

    def route(self, head: RequestHead) -> CompiledRoute | None:
        """The route of the request, None without one; raises `TextTooLongError`."""
        if self._require_tls and head.values("x-forwarded-proto") != ["https"]:
            return _TO_TLS
        for route in self._routes:
            try:
                if route.matches(head):
                    return route
            except TextTooLongError as error:
                raise TextTooLongError(f"route {route.name!r} of {self._name!r}: {error}") from error
        return None
