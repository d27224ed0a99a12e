"""PeerAuthentications, put together: what holds for a workload and its ports, and for a namespace. Pure.

Follows istiod's `pilot/pkg/model/authentication.go` and `ComposePeerAuthentication`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localmesh.config.peer_authentication import MtlsMode, PeerAuthentication

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localmesh.config import Resource, Resources


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """Never UNSET. ``ports`` are those that are named, whether or not they differ."""

    mode: MtlsMode = MtlsMode.PERMISSIVE
    ports: Mapping[int, MtlsMode] = field(default_factory=dict)

    def at(self, port: int) -> MtlsMode:
        return self.ports.get(port, self.mode)


class PeerPolicies:
    """Of two policies for one scope the first counts; a selector in the root namespace selects nothing."""

    def __init__(self, resources: Resources) -> None:
        self._root = resources.mesh.root_namespace
        self._wide: dict[str, MtlsMode] = {}  # by namespace
        self._narrow: dict[str, list[Resource[PeerAuthentication]]] = {}
        for resource in resources.peer_authentications:
            if resource.spec.labels:
                self._narrow.setdefault(resource.namespace, []).append(resource)
            else:
                self._wide.setdefault(resource.namespace, resource.spec.mtls.mode)

    def for_namespace(self, namespace: str) -> MtlsMode:
        """What services of the namespace are expected to accept, workloads' own policies left aside."""
        for found in (self._wide.get(namespace), self._wide.get(self._root)):
            if found is not None and found is not MtlsMode.UNSET:
                return found
        return MtlsMode.PERMISSIVE

    def for_workload(self, namespace: str, labels: Mapping[str, str]) -> PeerPolicy:
        mode = self.for_namespace(namespace)
        if namespace == self._root:
            return PeerPolicy(mode)
        for resource in self._narrow.get(namespace, ()):
            spec = resource.spec
            if spec.labels.items() <= labels.items():
                own = mode if spec.mtls.mode is MtlsMode.UNSET else spec.mtls.mode
                ports = {port: own if at is MtlsMode.UNSET else at for port, at in spec.ports.items()}
                return PeerPolicy(own, ports)
        return PeerPolicy(mode)
