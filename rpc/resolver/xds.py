"""A target of the mesh, observed through the exchanger. The only place in `rpc` that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.process_mesh import mesh as process_mesh
from rpc.resolver.addresses import Addresses
from rpc.resolver.newest import Newest
from rpc.resolver.resolver import Resolver
from xds_client.model import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from rpc.resolver.resolver import ChannelTarget
    from rpc.resolver.values import Told
    from xds_client import ObserverHandle, PilotExchanger


_SELDOM = 1.0  # seconds between two look-ups that nothing was the reason for, at least


def resolver(target: ChannelTarget) -> Resolver:
    """Raises `InvalidTargetError`, and `xds_client.BootstrapError` where the process's mesh is to be opened."""
    return XdsResolver(Target.parse(target.text), target.mesh, target.dns_pause, target.dns_refresh)


class XdsResolver(Resolver):
    """Observes one target, on the given exchanger or on the process's.

    Names in its configurations are looked up every ``dns_refresh`` seconds, by default as often as ``dns_pause`` lets
    them: a pod that comes ends nobody's connection. For the rest of both see `Name`.
    """

    def __init__(
        self, target: Target, mesh: PilotExchanger | None, dns_pause: float = 30.0, dns_refresh: float | None = None
    ) -> None:
        self._handle: ObserverHandle | None = None
        self._newest: Newest | None = None
        self._addresses: Addresses | None = None
        self._dns = dns_pause, max(dns_pause, _SELDOM) if dns_refresh is None else dns_refresh
        self._target = target
        self._mesh = mesh if mesh is not None else process_mesh()
        self.identity = self._mesh.identity

    proxied = False  # a mesh's addresses are nobody's to pass on

    def start(self, observer: Callable[[Told], None]) -> None:
        self._newest = Newest(observer)
        self._addresses = Addresses(self._newest.put, *self._dns)
        self._handle = self._mesh.observe_target(self._target, self._addresses.put)

    def resume(self) -> None:
        if self._addresses is not None:
            self._addresses.resume()
        self._mesh.resume()

    def refresh(self) -> None:
        """Only of names; the control plane says by itself what else changes."""
        if self._addresses is not None:
            self._addresses.refresh()

    def waiting_for(self) -> str:
        names = self._addresses.waiting_for() if self._addresses is not None else None
        if names is not None:
            return names
        status = self._mesh.status()
        trouble = f" ({status.connection.last_error})" if status.connection.last_error else ""
        return f"control plane {status.address} is {status.connection.phase.value}{trouble}, node {status.node_id}"

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
        if self._addresses is not None:
            self._addresses.close()
        if self._newest is not None:
            self._newest.close()
