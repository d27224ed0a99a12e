"""One delta ADS stream, without I/O: requests and pushes in, responses out, by the rules of istiod's `delta.go`.

Confined to the thread of its stream. The theory:
- a type is *watched* from its first request on, which is answered with what it names (CDS: everything);
- a request with a stale nonce is ignored; one with an error detail is a NACK: it is recorded, its names are dropped;
- any other changes the subscription; names that are new are answered, alone; an ACK that changes nothing is silent;
- ``*`` is not remembered as a name, so every subscription to it is new;
- CDS and LDS are answered whole and report as removed what the client holds (``initial_resource_versions``, or was
  sent) and is gone; EDS and RDS answer every name, known or not, and never remove;
- a CDS request is followed by all watched EDS, or clusters could stay warming (envoy issue 13009);
- a push sends all that is watched again, in the order CDS, EDS, LDS, RDS, SDS. Resource versions are
  empty.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localmesh import xds
from localmesh.compile import View
from localmesh.serve.node import Node, parse_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from localmesh.compile import Snapshot

log = logging.getLogger("proxyless.localmesh")

_PREFIX = "type.googleapis.com/envoy.config."
CLUSTER = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINT = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
LISTENER = f"{_PREFIX}listener.v3.Listener"
ROUTE = f"{_PREFIX}route.v3.RouteConfiguration"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105  # a type, not a secret
PUSH_ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)
_WILDCARD_TYPES = (CLUSTER, LISTENER)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A NACK: which node refused which response, and why.

    >>> with LocalMesh("mesh") as mesh:
    ...     [f"{rejection.node}: {rejection.reason}" for rejection in mesh.rejections]
    []
    """

    node: str
    type_url: str
    nonce: str
    reason: str


@dataclass(frozen=True, slots=True)
class Published:
    """A snapshot and the version under which it is sent."""

    snapshot: Snapshot
    version: str


@dataclass(slots=True)
class _Watched:
    names: set[str] = field(default_factory=set)
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """``admit`` is asked about the node of the first request, and raises if it may not be here; ``secret`` by name."""

    admit: Callable[[Node], None]
    secret: Callable[[str], xds.Packed | None]


ANYBODY = Membership(lambda _: None, lambda _: None)  # where nobody is asked, nobody has secrets


class DeltaSession:
    def __init__(
        self,
        published: Published,
        new_nonce: Callable[[], str],
        reject: Callable[[Rejection], None],
        membership: Membership = ANYBODY,
    ) -> None:
        self._published = published
        self._membership = membership
        self._new_nonce = new_nonce
        self._reject = reject
        self._node: Node | None = None
        self._view = View("")  # the node's, as the snapshot knows it
        self._watched: dict[str, _Watched] = {}

    def receive(self, request: xds.discovery.DeltaDiscoveryRequest) -> list[xds.discovery.DeltaDiscoveryResponse]:
        """The responses to a request.

        Raises `InvalidNode` if the first one does not say who asks, and what the membership's ``admit`` raises.
        """
        if self._node is None:
            node = parse_node(request.node)
            self._membership.admit(node)
            self._node = node
            self._view = self._published.snapshot.view(node.view)
        if request.type_url not in PUSH_ORDER:
            return []
        if not self._wants_answer(request):
            return []
        names = {*request.resource_names_subscribe, *request.initial_resource_versions} - {"*"}
        responses = self._answer(request.type_url, names)
        if request.type_url == CLUSTER and ENDPOINT in self._watched:
            responses += self._answer(ENDPOINT, self._watched[ENDPOINT].names)
        return responses

    def push(self, published: Published) -> list[xds.discovery.DeltaDiscoveryResponse]:
        """Everything that is watched, from the new config."""
        self._published = published
        if self._node is not None:
            self._view = published.snapshot.view(self._node.view)
        responses = []
        for type_url in PUSH_ORDER:
            if type_url in self._watched:
                responses += self._answer(type_url, self._watched[type_url].names)
        return responses

    def _wants_answer(self, request: xds.discovery.DeltaDiscoveryRequest) -> bool:
        """Records what the request says; whether it must be answered."""
        if request.HasField("error_detail"):
            assert self._node is not None
            reason = request.error_detail.message
            self._reject(Rejection(self._node.id, request.type_url, request.response_nonce, reason))
            return False
        watched = self._watched.get(request.type_url)
        is_first = watched is None
        if watched is None:
            watched = self._watched[request.type_url] = _Watched()
        elif request.response_nonce and request.response_nonce != watched.nonce:
            return False
        before = set(watched.names)
        watched.names |= {*request.resource_names_subscribe, *request.initial_resource_versions}
        watched.names -= {*request.resource_names_unsubscribe, "*"}
        return is_first or watched.names != before or "*" in request.resource_names_subscribe

    def _answer(self, type_url: str, names: Iterable[str]) -> list[xds.discovery.DeltaDiscoveryResponse]:
        """One response with these names (of a wildcard type: with all there is), or none when nothing was asked."""
        watched = self._watched[type_url]
        wildcard = type_url in _WILDCARD_TYPES
        resources = self._resources(type_url, sorted(names))
        if not resources and not wildcard and watched.nonce:
            return []
        removed = sorted(set(names) - resources.keys()) if wildcard else []
        if wildcard:
            watched.names = set(resources)
        watched.nonce = self._new_nonce()
        return [
            xds.discovery.DeltaDiscoveryResponse(
                system_version_info=self._published.version,
                type_url=type_url,
                nonce=watched.nonce,
                resources=[_resource(name, body) for name, body in resources.items()],
                removed_resources=removed,
                control_plane={"identifier": "localmesh"},
            )
        ]

    def _resources(self, type_url: str, names: list[str]) -> Mapping[str, xds.Packed]:
        assert self._node is not None
        snapshot, view = self._published.snapshot, self._view
        if type_url == CLUSTER:
            return snapshot.clusters(view)
        if type_url == ENDPOINT:
            return _each(names, lambda name: snapshot.endpoints(name, view))
        if type_url == ROUTE:
            return _each(names, lambda name: snapshot.routes(name, view))
        if type_url == SECRET:
            found = ((name, self._membership.secret(name)) for name in names)
            return {name: secret for name, secret in found if secret is not None}
        return snapshot.listeners(view)


def _each(names: list[str], make: Callable[[str], xds.Packed]) -> Mapping[str, xds.Packed]:
    """By name. What a fault of the compiler's leaves out is not answered: an empty answer would mean that it is not
    there, and clients keep what they have.
    """
    made = {}
    for name in names:
        try:
            made[name] = make(name)
        except Exception:
            log.exception("%s: no answer could be made, clients keep what they have", name)
    return made


def _resource(name: str, body: xds.Packed) -> xds.discovery.Resource:
    packed = {"type_url": body.type_url, "value": body.value}
    return xds.discovery.Resource(name=name, resource=packed)
