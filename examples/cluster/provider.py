"""A pod that serves the Greeter: it answers with its version, its own name, and who the caller is."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from examples.cluster.probes import Probes, membership
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc
from proxyless.xds import Bootstrap, PilotExchanger

if TYPE_CHECKING:
    import grpc

PORT = 9080
THREADS = 16
GRACE = 15.0  # seconds that calls in progress are given; with the chart's preStop it fits into the pod's own grace


class Greeter(stubs.GreeterServicer):
    def __init__(self, name: str, work: float) -> None:
        self._name = name
        self._work = work  # seconds

    def SayHello(self, request: pb.HelloRequest, context: grpc.ServicerContext) -> pb.HelloReply:  # noqa: N802
        time.sleep(self._work)
        callers = [identity.decode() for identity in context.peer_identities() or ()]
        return pb.HelloReply(message=f"Hello {request.name} alias {' '.join(callers) or 'nobody'}", server=self._name)


def main() -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    name = f"{os.environ.get('VERSION', 'v0')}/{os.environ.get('POD_NAME', 'provider')}"

    mesh = PilotExchanger(Bootstrap.load())
    server = rpc.server(ThreadPoolExecutor(THREADS))
    stubs.add_GreeterServicer_to_server(Greeter(name, float(os.environ.get("WORK_SECONDS", "0"))), server)
    server.add_secure_port(f"0.0.0.0:{PORT}", rpc.xds_server_credentials(mesh=mesh))  # as PeerAuthentication says

    def unready() -> str | None:
        if ended.is_set():
            return "shutting down"
        return None if server.ready else server.waiting_for()

    with mesh, Probes(unready, lambda: membership(mesh) | {"server": name}):
        server.start()
        print(f"ready: {name}", flush=True)
        ended.wait()
        server.stop(GRACE).wait()


if __name__ == "__main__":
    main()
