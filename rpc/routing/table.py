"""The routes of one virtual host, in order: the first that matches decides."""

from __future__ import annotations

import itertools
import random
from bisect import bisect
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from rpc.balancing.cluster import BalancedCluster
from rpc.choice import CallTerms, Choice, NoChoiceError
from rpc.pattern import TextTooLongError
from rpc.routing.match import compile_match, everything
from xds_client.model import ForwardAction, PathMatch, PathMatchKind, Route, RouteMatch, UnsupportedAction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rpc.choice import Chooser
    from rpc.request_head import RequestHead
    from xds_client.model import VirtualHost


class CompiledRoute:
    """One route, ready to be asked per call. ``terms`` None: it says none."""

    __slots__ = ("_bounds", "_names", "matches", "name", "terms", "unsupported")

    def __init__(self, route: Route, terms: CallTerms | None = None) -> None:
        """``terms``: what is said besides the route; a time-out that says not whose it is, is the route's."""
        self.name = route.name
        self.matches = compile_match(route.match)
        self.terms = terms
        if terms is not None and terms.timeout is not None and not terms.timeout_words:
            self.terms = replace(terms, timeout_words=self._allows(terms.timeout))
        self.unsupported: str | None = None
        self._names: tuple[str, ...] = ()
        self._bounds: tuple[int, ...] = ()
        if isinstance(route.action, ForwardAction):
            weighted = [cluster for cluster in route.action.clusters if cluster.weight > 0]
            timeout = route.action.timeout
            if timeout is not None:
                self.terms = CallTerms(timeout, timeout_words=self._allows(timeout))
            self._names = tuple(cluster.name for cluster in weighted)
            self._bounds = tuple(itertools.accumulate(cluster.weight for cluster in weighted))
        else:
            self.unsupported = route.action.kind

    def __str__(self) -> str:
        return f"route {self.name!r}" if self.name else "the route, which has no name,"

    def _allows(self, timeout: float) -> str:
        return f"{self} allows {timeout:g} s"

    def roll(self) -> int:
        """Which one of the route's clusters, by weight."""
        if len(self._names) == 1:
            return 0
        return bisect(self._bounds, random.randrange(self._bounds[-1]))  # noqa: S311 - a share, not a secret

    def choices(self, pools: Mapping[str, BalancedCluster]) -> tuple[Choice, ...]:
        """One for each of its clusters."""
        return tuple(Choice(_pool(pools, name), self.terms, str(self)) for name in self._names)

    @property
    def only(self) -> bool:
        """Every request takes it, to the same cluster."""
        return self.matches is everything and len(self._names) == 1


def _pool(pools: Mapping[str, BalancedCluster], name: str) -> BalancedCluster:
    return pools.get(name) or BalancedCluster(name, error=f"cluster {name} is not in the configuration")


# What Envoy answers for a virtual host that requires TLS; gRPC follows no redirects.
_TO_TLS = CompiledRoute(
    Route("", RouteMatch(PathMatch(PathMatchKind.PREFIX, "")), UnsupportedAction("a redirect to https (require_tls)"))
)


class RouteTable:
    """A mesh's rules. Immutable; made once per configuration. ``never``: which routes match no request, and why."""

    def __init__(self, virtual_host: VirtualHost, terms: Sequence[CallTerms | None] = ()) -> None:
        """Compile all routes that a gRPC call can take; raises `InvalidPatternError`.

        ``terms`` of each, besides what it says itself.
        """
        both = itertools.zip_longest(virtual_host.routes, terms)
        possible = [(route, said) for route, said in both if route.match.possible_for_grpc]
        self._routes = tuple(CompiledRoute(route, said) for route, said in possible)
        self._name = virtual_host.name
        self._require_tls = virtual_host.require_tls
        self.never = frozenset(
            f"route {route.name!r} of {virtual_host.name!r} matches no request: {route.match.never}"
            for route, _ in possible
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

    def __str__(self) -> str:
        return f"{len(self._routes)} routes"

    def bind(self, pools: Mapping[str, BalancedCluster]) -> Chooser:
        """Choices by these routes among these clusters."""
        if self._routes and self._routes[0].only and not self._require_tls:
            [choice] = self._routes[0].choices(pools)
            return lambda _: choice
        choices = {route: route.choices(pools) for route in self._routes}

        def choose(head: RequestHead) -> Choice:
            try:
                route = self.route(head)
            except TextTooLongError as error:
                raise NoChoiceError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from None
            if route is None:
                raise NoChoiceError(grpc.StatusCode.UNAVAILABLE, f"no route matches {head.path}")
            if route.unsupported is not None:
                what = f"route {route.name!r} says {route.unsupported}, which this release does not carry out"
                raise NoChoiceError(grpc.StatusCode.UNAVAILABLE, what)
            return choices[route][route.roll()]

        return choose
