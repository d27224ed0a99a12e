"""A pod that calls the Greeter at an even pace, and tells on its plaintext port what came of it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from typing import Any

import grpc

from examples.cluster.status_page import StatusPage, membership
from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs
from proxyless import rpc

PROBES = 9081
THREADS = 16
PATIENCE = 60.0  # seconds until there has to be a certificate
TIMEOUT = 10.0  # seconds
ERRORS_KEPT = 20


class Tally:
    """What all calls so far came to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: Counter[str] = Counter()
        self._callers: Counter[str] = Counter()
        self._errors: deque[str] = deque(maxlen=ERRORS_KEPT)
        self._failed = 0
        self._slowest = 0.0

    def answered(self, reply: pb.HelloReply, seconds: float) -> None:
        with self._lock:
            self._servers[reply.server] += 1
            self._callers[reply.message.partition(" alias ")[2]] += 1
            self._slowest = max(self._slowest, seconds)

    def failed(self, error: grpc.RpcError) -> None:
        with self._lock:
            self._failed += 1
            self._errors.append(f"{error.code().name}: {error.details()}")

    def told(self) -> dict[str, Any]:
        with self._lock:
            return {
                "answered": self._servers.total(),
                "failed": self._failed,
                "errors": list(self._errors),
                "servers": dict(self._servers),
                "seen_as": dict(self._callers),  # who we are in the eyes of those who answered
                "slowest": self._slowest,
            }


def call(stub: stubs.GreeterStub, tally: Tally) -> None:
    began = time.monotonic()
    try:
        reply = stub.SayHello(pb.HelloRequest(name="cluster"), timeout=TIMEOUT)
    except grpc.RpcError as error:
        tally.failed(error)
    else:
        tally.answered(reply, time.monotonic() - began)


def work(stub: stubs.GreeterStub, tally: Tally, ended: threading.Event, gap: float) -> None:
    due = time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        call(stub, tally)
        due = max(due + gap, time.monotonic() - 1.0)  # after a standstill it does not catch up for ever


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # a container's first process ignores it, unless told
    target, rate = os.environ["TARGET"], float(os.environ.get("CALLS_PER_SECOND", "10"))
    probes = rpc.server(None)  # it serves nobody else; the port opens once there is a certificate
    probes.add_probe_port(f"[::]:{PROBES}")

    tally, ended = Tally(), threading.Event()
    with rpc.mesh() as mesh, StatusPage(lambda: membership(mesh) | tally.told()):
        if mesh.identity is not None:
            mesh.identity.wait(PATIENCE)
        channel = rpc.insecure_channel(target)
        stub = stubs.GreeterStub(channel)
        arguments = (stub, tally, ended, THREADS / rate)
        threads = [threading.Thread(target=work, args=arguments, name=f"calls-{n}") for n in range(THREADS)]
        for thread in threads:
            thread.start()
        probes.start()
        print(f"started: {rate:g} calls per second to {target}", flush=True)
        rpc.serve_until_terminated(probes, endpoint_delay=0, grace=0)  # nobody calls it, so nobody has to hear of it
        ended.set()
        for thread in threads:
            thread.join()
        channel.close()


if __name__ == "__main__":
    main()
