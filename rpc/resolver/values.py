"""What a resolver tells a channel: pools of endpoints, and which calls go to which. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xds_client.model import TargetConfig, TargetMissing

if TYPE_CHECKING:
    from rpc.choice import CallTerms, Rules
    from xds_client.model import Endpoint, UpstreamTls


@dataclass(frozen=True, slots=True)
class Pool:
    """Endpoints that are the same to who calls them, and how one of them is picked.

    ``balancing``: a policy's name (`rpc.balancing.register`). ``backups``: further groups of endpoints, each called
    while none of those before it can be. ``connect_timeout`` in seconds. ``tls``: what the endpoints demand; None: what
    the channel's credentials say. An endpoint that makes no sense is left out, by name.

    >>> Pool("v1", (Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80, weight=3)), balancing="round_robin").name
    'v1'
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    balancing: str = "round_robin"
    backups: tuple[tuple[Endpoint, ...], ...] = ()
    connect_timeout: float = 20.0  # as gRPC's (grpc/doc/connection-backoff.md, MIN_CONNECT_TIMEOUT)
    tls: UpstreamTls | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Calls of this path, or of paths that begin so, with these headers, go to these pools by weight.

    >>> Route(pools=(("v1", 90), ("v2", 10)), prefix="/shop.Cart/", terms=CallTerms(timeout=2.0)).pools
    (('v1', 90), ('v2', 10))
    """

    pools: tuple[tuple[str, int], ...]
    path: str | None = None  # the whole of it; goes before ``prefix``
    prefix: str = ""
    headers: tuple[tuple[str, str], ...] = ()  # names and whole values, all of them
    terms: CallTerms | None = None
    name: str = ""  # for messages


@dataclass(frozen=True, slots=True)
class Resolved:
    """All that calls to a target need. The first route that fits a call decides; without routes, the first pool.

    ``authority``: what requests say as ``:authority``; empty: the target's. ``host``: who servers have to be by their
    certificates; empty: the authority's. ``rules`` in place of ``routes``: code that chooses (`rpc.choice.Rules`).

    >>> Resolved((Pool("all", (Endpoint("10.0.0.1", 80),)),)).routes
    ()
    """

    pools: tuple[Pool, ...]
    routes: tuple[Route, ...] = ()
    authority: str = ""
    host: str = ""
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class Unresolved:
    """There is no such target, as far as the resolver can say: calls fail with ``reason`` until it tells otherwise.

    >>> Unresolved("no service 'cart' in the registry at 10.0.0.9:2181: is the provider up?").reason[:10]
    'no service'
    """

    reason: str


# What a mesh's own resolver tells comes as the mesh's model has it.
Told = Resolved | Unresolved | TargetConfig | TargetMissing
