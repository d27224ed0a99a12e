"""Connections to the control plane on our own engine: of every exchanger that is made once `rpc` is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import grpc

    from rpc.options import Options


class EngineChannels:
    """Our engine takes a fork, where grpcio does not (docs/adr).

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
        from rpc.security import control_plane_credentials  # noqa: PLC0415 - as above

        return Channel(address, options, None, None, opened(control_plane_credentials(roots, key, chain)))
