"""Connections to the control plane on our own engine: of every exchanger that is made once `rpc` is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpc.blocking.channel import Channel
from rpc.credentials import opened
from rpc.ignored import IGNORED
from rpc.security import control_plane_credentials

if TYPE_CHECKING:
    import grpc

    from rpc.options import Options


class EngineChannels:
    """Our engine takes a fork, where grpcio does not (docs/adr).

    Without what `rpc.extend` adds to channels: an interceptor of the program's has no business there, and might show
    the control plane what is meant for others.
    """

    def insecure(self, address: str, options: Options) -> grpc.Channel:
        return Channel(address, _meant_for_us(options), None, None)

    def secure(
        self, address: str, roots: bytes, key: bytes | None, chain: bytes | None, options: Options
    ) -> grpc.Channel:
        return Channel(
            address, _meant_for_us(options), None, None, opened(control_plane_credentials(roots, key, chain))
        )


def _meant_for_us(options: Options) -> Options:
    """Without what only grpcio needs to be told: the program's log is for arguments that the program gave."""
    return [(name, value) for name, value in options or () if name not in IGNORED]
