"""The server that is measured, and its servicers: echoes of what is asked, nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from examples.hello import hello_pb2_grpc
from examples.hello.hello_pb2 import HelloReply, HelloRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bench.stacks import Stack

_ANY_PORT = "127.0.0.1:0"


class Greeter(hello_pb2_grpc.GreeterServicer):
    def SayHello(self, request: HelloRequest, context: Any) -> HelloReply:  # noqa: ARG002, N802 - grpc's signature
        return HelloReply(payload=request.payload)

    def ListHellos(self, request: HelloRequest, context: Any) -> Iterator[HelloReply]:  # noqa: ARG002, N802 - idem
        for _ in range(request.count):
            yield HelloReply(payload=request.payload)


class AioGreeter(hello_pb2_grpc.GreeterServicer):
    async def SayHello(self, request: HelloRequest, context: Any) -> HelloReply:  # noqa: ARG002, N802 - idem
        return HelloReply(payload=request.payload)

    async def ListHellos(  # noqa: N802 - idem
        self,
        request: HelloRequest,
        context: Any,  # noqa: ARG002 - idem
    ) -> AsyncIterator[HelloReply]:
        for _ in range(request.count):
            yield HelloReply(payload=request.payload)


def serve(stack: Stack) -> None:
    """Print the port, serve until standard input ends."""
    server = stack.server()
    stack.equip(server, False)
    port = stack.bind(server, _ANY_PORT)
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0).wait(5)


async def serve_aio(stack: Stack) -> None:
    """The same in the running loop."""
    server = stack.aio_server()
    stack.equip(server, True)
    port = stack.bind(server, _ANY_PORT)
    await server.start()
    print(port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop(0)
