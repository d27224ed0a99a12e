"""How connections to the control plane are made: by grpcio here, or by whoever offers grpc's channels."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Protocol

import grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    Options = Sequence[tuple[str, int | str]]

CHANNEL_OPTIONS: Options = (
    ("grpc.max_receive_message_length", 256 << 20),  # CDS of a large mesh is one message; no more is kept either
    ("grpc.keepalive_time_ms", 30_000),  # as pilot-agent does: a dead istiod is noticed although the stream is quiet
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),  # what to repeat and when is ours to say, not the channel's
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the old one's connection back-off
    ("grpc.enable_http_proxy", 0),  # the control plane is inside the cluster
)


class Channels(Protocol):
    """Makes a channel for one stream or one call. All material is PEM; options are grpc's channel arguments."""

    def insecure(self, address: str, options: Options) -> grpc.Channel: ...

    def secure(
        self, address: str, roots: bytes, key: bytes | None, chain: bytes | None, options: Options
    ) -> grpc.Channel: ...


class GrpcChannels:
    """grpcio's own, as they are without what instrumentors put around them: interceptors of the program's have no
    business between us and the control plane or an agent, and might show them what is meant for others.
    """

    def insecure(self, address: str, options: Options) -> grpc.Channel:
        channel: grpc.Channel = inspect.unwrap(grpc.insecure_channel)(address, options)
        return channel

    def secure(
        self, address: str, roots: bytes, key: bytes | None, chain: bytes | None, options: Options
    ) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        channel: grpc.Channel = inspect.unwrap(grpc.secure_channel)(address, credentials, options)
        return channel


GRPCIO = GrpcChannels()
_preferred: Channels = GRPCIO


def prefer(channels: Channels) -> None:
    """From now on these, wherever no others are named. `rpc` does so when it is imported: its engine takes a fork."""
    global _preferred  # noqa: PLW0603 - this package stands alone, and cannot look for a better one itself
    _preferred = channels


def preferred() -> Channels:
    return _preferred
