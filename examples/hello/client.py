"""One call through the mesh: as with grpcio, but for the target."""

from __future__ import annotations

import sys

from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc


def main(target: str = "xds:///greeter.demo:9080") -> None:
    with rpc.insecure_channel(target) as channel:  # protected as the mesh says, endpoint by endpoint
        reply = stubs.GreeterStub(channel).SayHello(pb.HelloRequest(name="you"), timeout=10.0, wait_for_ready=True)
        print(reply.message)


if __name__ == "__main__":
    main(*sys.argv[1:])
