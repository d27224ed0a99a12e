"""A pod that serves the Greeter: it answers with its version, its own name, and who the caller is."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from examples.cluster.status_page import StatusPage, membership
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc

if TYPE_CHECKING:
    import grpc

PORT, PROBES = 9080, 9081
THREADS = 16


class Greeter(stubs.GreeterServicer):
    def __init__(self, name: str, work: float) -> None:
        self._name = name
        self._work = work  # seconds

    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802
        time.sleep(self._work)
        callers = [identity.decode() for identity in context.peer_identities() or ()]
        return pb.HelloReply(message=f"Hello {request.name} alias {' '.join(callers) or 'nobody'}", server=self._name)


def main() -> None:
    name = f"{os.environ.get('VERSION', 'v0')}/{os.environ.get('POD_NAME', 'provider')}"
    server = rpc.server(ThreadPoolExecutor(THREADS))
    stubs.add_GreeterServicer_to_server(Greeter(name, float(os.environ.get("WORK_SECONDS", "0"))), server)
    server.add_secure_port(f"[::]:{PORT}", rpc.xds_server_credentials())  # who comes in is PeerAuthentication's matter
    server.add_probe_port(f"[::]:{PROBES}")

    with rpc.mesh() as mesh, StatusPage(lambda: membership(mesh) | {"server": name}):
        server.start()
        print(f"started: {name}", flush=True)
        # SIGTERM: not ready, serve on while callers hear of it, GOAWAY, finish what is in progress, end.
        rpc.serve_until_terminated(server, endpoint_delay=float(os.environ.get("DRAIN_SECONDS", "5")), grace=20)


if __name__ == "__main__":
    main()
