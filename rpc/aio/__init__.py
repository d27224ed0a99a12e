"""Channels and servers for asyncio: `grpc.aio.Channel` and `grpc.aio.Server`, in the caller's own loop.

>>> async def main():
...     async with rpc.aio.insecure_channel("xds:///greeter.demo:9080") as channel:
...         return await GreeterStub(channel).SayHello(HelloRequest(name="you"), timeout=10)
>>> asyncio.run(main()).message
'Hello you, says spiffe://cluster.local/ns/demo/sa/web!'
"""

from rpc.aio.channel import Channel, insecure_channel, secure_channel
from rpc.aio.server import Server, server
from rpc.aio.termination import serve_until_terminated

__all__ = ["Channel", "Server", "insecure_channel", "secure_channel", "serve_until_terminated", "server"]
