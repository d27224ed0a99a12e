"""Which AuthorizationPolicies hold for a workload: the mesh's, then its namespace's, each in istiod's order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmesh.config import Resource, Resources
    from localmesh.config.authorization_policy import AuthorizationPolicy


class AuthorizationPolicies:
    def __init__(self, resources: Resources) -> None:
        self._root = resources.mesh.root_namespace
        self._by_namespace: dict[str, list[Resource[AuthorizationPolicy]]] = {}
        for resource in resources.authorization_policies:
            self._by_namespace.setdefault(resource.namespace, []).append(resource)

    def for_workload(self, namespace: str, labels: Mapping[str, str]) -> tuple[Resource[AuthorizationPolicy], ...]:
        """A selector in the root namespace selects workloads of the whole mesh."""
        return tuple(
            resource
            for where in dict.fromkeys((self._root, namespace))
            for resource in self._by_namespace.get(where, ())
            if resource.spec.is_for(labels)
        )
