"""Channels and servers for threads: `grpc.Channel` and `grpc.Server` on the engine."""

from rpc.blocking.channel import Channel

__all__ = ["Channel"]
