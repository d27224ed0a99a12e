"""A target of the mesh, observed through the exchanger. The only place in `rpc` that knows it."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from rpc.resolver.newest import Newest
from xds_client import Bootstrap, PilotExchanger

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from rpc.options import Options
    from xds_client import ObserverHandle
    from xds_client.identity import IdentitySource
    from xds_client.model import Target, TargetConfig, TargetMissing


class EngineChannels:
    """Connections to the control plane on our own engine, which takes a fork where grpcio does not (docs/adr).

    Without what `rpc.extend` adds to channels: an interceptor of the program's has no business there, and might show
    the control plane what is meant for others.
    """

    def insecure(self, address: str, options: Options) -> grpc.Channel:
        from rpc.blocking.channel import Channel  # noqa: PLC0415 - channels are made of resolvers, too

        return Channel(address, options, None, None)

    def secure(
        self, address: str, roots: bytes, key: bytes | None, chain: bytes | None, options: Options
    ) -> grpc.Channel:
        from rpc.blocking.channel import Channel  # noqa: PLC0415 - as above
        from rpc.credentials import opened  # noqa: PLC0415 - as above
        from rpc.security import ssl_channel_credentials  # noqa: PLC0415 - as above

        return Channel(address, options, None, None, opened(ssl_channel_credentials(roots, key, chain)))


_lock = threading.Lock()
_shared: PilotExchanger | None = None


def process_exchanger() -> PilotExchanger:
    """The one exchanger of this process, opened from the environment when first needed.

    Raises `xds_client.BootstrapError` naming file and field.
    """
    global _shared  # noqa: PLW0603 - one stream per process is the point; it is made on demand, never at import
    with _lock:
        if _shared is None:
            _shared = PilotExchanger(Bootstrap.load(), channels=EngineChannels())
            atexit.register(_shared.close)
        return _shared


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - its holder may be a thread that the child of a fork does not have
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)


class XdsResolution:
    """Observes one target, on the given exchanger or on the process's."""

    def __init__(self, target: Target, mesh: PilotExchanger | None) -> None:
        self._target = target
        self._mesh = mesh if mesh is not None else process_exchanger()
        self._handle: ObserverHandle | None = None
        self._newest: Newest | None = None

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

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
        if self._newest is not None:
            self._newest.close()
