"""What stands before a workload's own ports: the filters of the policies that hold for it, in Envoy's order. Pure.

Compiled once for all workloads for which the same policies hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmesh.compile.authorization import AuthorizationPolicies, FilterBuilder, Providers, TrustDomains
from localmesh.compile.jwt_authn import RequestAuthentications, jwt_filters
from localmesh.compile.memory import Memory
from localmesh.config.mesh_config import Normalization

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from localmesh.compile.jwt_authn import KeySource
    from localmesh.compile.registry import Registry
    from localmesh.compile.view import View
    from localmesh.config import Resources

_KINDS_OF_WORKLOADS = 100  # remembered at a time


@dataclass(frozen=True, slots=True)
class Guard:
    """``http``: HTTP filters, before all that answer; ``tcp``: network filters, before what passes the bytes on.

    ``paths``: how a path is spelt to the HTTP filters.
    """

    http: tuple[Message, ...] = ()
    tcp: tuple[Message, ...] = ()
    paths: Normalization = Normalization.DEFAULT


class Guards:
    """``keys``: of issuers, as far as they were fetched."""

    def __init__(self, resources: Resources, registry: Registry, keys: Mapping[KeySource, str]) -> None:
        mesh = resources.mesh
        self._keys = keys
        self._authentication = RequestAuthentications(resources)
        self._authorization = AuthorizationPolicies(resources)
        self._domains = TrustDomains((mesh.trust_domain, *mesh.trust_domain_aliases))
        self._paths = mesh.path_normalization.normalization
        self._providers = Providers(mesh, registry)
        self._made: Memory[Guard] = Memory(_KINDS_OF_WORKLOADS)

    def of(self, view: View) -> Guard:
        labels = dict(view.labels)
        authentications = self._authentication.for_workload(view.namespace, labels)
        policies = self._authorization.for_workload(view.namespace, labels)

        def make() -> Guard:
            filters = FilterBuilder(policies, self._domains, self._providers).build()
            tokens = jwt_filters(authentications, self._keys)
            return Guard((*filters.custom, *tokens, *filters.own), (*filters.custom_tcp, *filters.own_tcp), self._paths)

        names = tuple(tuple((one.namespace, one.name) for one in found) for found in (authentications, policies))
        return self._made.recall(names, make)
