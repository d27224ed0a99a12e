"""One provider of the service `reviews`: an ordinary gRPC server that answers with its own name."""

from __future__ import annotations

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import rpc
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs

if TYPE_CHECKING:
    import grpc


class Greeter(stubs.GreeterServicer):
    def __init__(self, name: str) -> None:
        self._name = name

    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802, ARG002
        return pb.HelloReply(message=f"Hello {request.name}", server=self._name)


def main(name: str, address: str) -> None:
    server = rpc.server(ThreadPoolExecutor(4))
    stubs.add_GreeterServicer_to_server(Greeter(name), server)
    server.add_insecure_port(address)
    server.start()
    print(f"ready: {name} on {address}", flush=True)

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()
    server.stop(grace=1.0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
