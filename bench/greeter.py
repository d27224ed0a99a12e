"""What servers answer when they are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from examples.hello import hello_pb2_grpc
from examples.hello.hello_pb2 import HelloReply, HelloRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


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
