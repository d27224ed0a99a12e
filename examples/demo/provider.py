"""One provider of the service `reviews`: an ordinary gRPC server that answers with its own name and its caller's."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc
from proxyless.xds import Bootstrap, PilotExchanger

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

LIMIT = 10.0  # seconds until the control plane must have given us an identity


class Greeter(stubs.GreeterServicer):
    def __init__(self, name: str) -> None:
        self._name = name

    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802, ARG002
        caller = b" ".join(context.peer_identities() or [b"nobody"]).decode()  # what its certificate says
        return pb.HelloReply(message=f"Hello {caller}", server=self._name)

    def ListHellos(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> Iterator[pb.HelloReply]:  # noqa: N802
        whose = (rpc.verified_claims(context) or {}).get("sub", "nobody")  # what the token says
        for _ in range(request.count):
            yield pb.HelloReply(message=f"Hello {whose}", server=self._name)


def main(name: str, address: str) -> None:
    logging.basicConfig(format="%(message)s")  # whom a policy denies is logged, with the policy's name
    mesh = PilotExchanger(Bootstrap.load())
    server = rpc.server(ThreadPoolExecutor(4))
    stubs.add_GreeterServicer_to_server(Greeter(name), server)
    server.add_secure_port(address, rpc.xds_server_credentials(mesh=mesh))  # who may call is the mesh's to say
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with mesh:
        server.start()
        assert mesh.identity is not None  # there is one wherever the control plane is reached over TLS
        identity = mesh.identity.wait(LIMIT)
        while not server.ready and not ended.is_set():
            time.sleep(0.01)
        print(f"ready: {name} on {address} as {identity.spiffe_id}", flush=True)
        ended.wait()
        server.stop(grace=1.0).wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
