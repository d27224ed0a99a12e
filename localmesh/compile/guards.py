"""What stands before a workload's own ports: the filters of the policies that hold for it, in Envoy's order. Pure.

Compiled once for all workloads for which the same policies hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localmesh.compile.authorization import AuthorizationPolicies, FilterBuilder, TrustDomains
from localmesh.compile.memory import Memory
from localmesh.config.mesh_config import Normalization

if TYPE_CHECKING:
    from google.protobuf.message import Message

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
    def __init__(self, resources: Resources) -> None:
        mesh = resources.mesh
        self._authorization = AuthorizationPolicies(resources)
        self._domains = TrustDomains((mesh.trust_domain, *mesh.trust_domain_aliases))
        self._paths = mesh.path_normalization.normalization
        self._made: Memory[Guard] = Memory(_KINDS_OF_WORKLOADS)

    def of(self, view: View) -> Guard:
        policies = self._authorization.for_workload(view.namespace, dict(view.labels))

        def make() -> Guard:
            filters = FilterBuilder(policies, self._domains).build()
            return Guard((*filters.custom, *filters.own), (*filters.custom_tcp, *filters.own_tcp), self._paths)

        return self._made.recall(tuple((policy.namespace, policy.name) for policy in policies), make)
