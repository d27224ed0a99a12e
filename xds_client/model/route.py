"""Routes as the mesh says them: what a request must look like and where it goes then. Frozen values, no behaviour.

Field meanings are Envoy's (envoy/config/route/v3/route_components.proto); `rpc.routing` gives them effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class StringMatchKind(Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    CONTAINS = "contains"
    REGEX = "regex"  # RE2, the whole string must match


@dataclass(frozen=True, slots=True)
class StringMatch:
    kind: StringMatchKind
    value: str
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class RangeMatch:
    """The header is a base-10 integer in ``[start, end)``."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PresentMatch:
    """The header is there (``present``) or is not there."""

    present: bool = True


@dataclass(frozen=True, slots=True)
class HeaderMatch:
    """One header condition. ``name`` is lower case and may be a pseudo header (``:authority``, ``:method``)."""

    name: str
    rule: StringMatch | RangeMatch | PresentMatch
    invert: bool = False
    missing_as_empty: bool = False


class PathMatchKind(Enum):
    EXACT = "exact"
    PREFIX = "prefix"
    SEPARATED_PREFIX = "separated_prefix"  # whole path segments only
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class PathMatch:
    kind: PathMatchKind
    value: str
    case_sensitive: bool = True


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """``never``: why no request matches, because a condition cannot be evaluated; empty: it can."""

    path: PathMatch
    headers: tuple[HeaderMatch, ...] = ()
    fraction_per_million: int | None = None  # None: every request
    never: str = ""


@dataclass(frozen=True, slots=True)
class WeightedCluster:
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class ForwardAction:
    """Send the request to one of the clusters. ``timeout`` in seconds, None = no limit from the route.

    Weights are relative; a cluster of weight 0 is never picked. At least one weight is positive.
    """

    clusters: tuple[WeightedCluster, ...]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class UnsupportedAction:
    """An action this release does not carry out (``redirect``, ``direct_response``, ...): calls fail and name it."""

    kind: str


@dataclass(frozen=True, slots=True)
class Route:
    """``left_out``: what else the route asks for, in Istio's words, and this release does not carry out."""

    name: str
    match: RouteMatch
    action: ForwardAction | UnsupportedAction
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """``require_tls``: a request whose ``x-forwarded-proto`` is not ``https`` gets a redirect instead of a route."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class RouteConfiguration:
    """One RDS resource. Without virtual hosts it is istiod's way to say that it knows no such host."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]
    ignore_port_in_host_matching: bool = False
