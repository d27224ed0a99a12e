"""A gRPC server of the mesh: as with grpcio, but for who may come in, which the mesh says (PeerAuthentication)."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc

if TYPE_CHECKING:
    import grpc


class Greeter(stubs.GreeterServicer):
    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802
        callers = context.peer_identities() or [b"somebody"]  # by the caller's certificate, if it has one
        return pb.HelloReply(message=f"Hello {request.name}, says {callers[0].decode()}!")


def main(address: str = "127.0.0.1:50051") -> None:
    server = rpc.server(ThreadPoolExecutor(4))
    stubs.add_GreeterServicer_to_server(Greeter(), server)
    server.add_secure_port(address, rpc.xds_server_credentials())
    server.start()
    print(f"serving on {address}", flush=True)
    rpc.serve_until_terminated(server)


if __name__ == "__main__":
    main(*sys.argv[1:])
