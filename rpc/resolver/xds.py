"""A target of the mesh, observed through the exchanger. The only place in `rpc` that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.resolver.newest import Newest
from rpc.resolver.process_mesh import mesh as process_mesh

if TYPE_CHECKING:
    from collections.abc import Callable

    from xds_client import ObserverHandle, PilotExchanger
    from xds_client.identity import IdentitySource
    from xds_client.model import Target, TargetConfig, TargetMissing


class XdsResolution:
    """Observes one target, on the given exchanger or on the process's."""

    def __init__(self, target: Target, mesh: PilotExchanger | None) -> None:
        self._handle: ObserverHandle | None = None
        self._newest: Newest | None = None
        self._target = target
        self._mesh = mesh if mesh is not None else process_mesh()

    @property
    def identity(self) -> IdentitySource | None:
        return self._mesh.identity

    def start(self, on_config: Callable[[TargetConfig | TargetMissing], None]) -> None:
        self._newest = Newest(on_config)
        self._handle = self._mesh.observe_target(self._target, self._newest.put)

    def resume(self) -> None:
        self._mesh.resume()

    authority = None
    refresh = None  # the control plane says what changes by itself

    def waiting_for(self) -> str:
        status = self._mesh.status()
        trouble = f" ({status.connection.last_error})" if status.connection.last_error else ""
        return f"control plane {status.address} is {status.connection.phase.value}{trouble}, node {status.node_id}"

    def __del__(self) -> None:
        """Of a channel that was dropped without being closed."""
        self.close()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
        if self._newest is not None:
            self._newest.close()
