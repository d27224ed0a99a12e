"""Channels and servers for asyncio: `grpc.aio.Channel` and `grpc.aio.Server`, in the caller's own loop."""

from rpc.aio.channel import Channel, insecure_channel, secure_channel
from rpc.aio.server import Server, server
from rpc.aio.termination import serve_until_terminated

__all__ = ["Channel", "Server", "insecure_channel", "secure_channel", "serve_until_terminated", "server"]
