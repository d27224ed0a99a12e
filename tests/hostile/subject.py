"""Who is attacked, as a process of its own: it calls one service of the mesh all the time, and tells how that went.

``python -m tests.hostile.subject``: prints a line once calls go through, and its report, as JSON, once a line came in
and the richer route is there, or PATIENCE is over.
"""

from __future__ import annotations

import json
import logging
import resource
import statistics
import sys
import threading
import time
from collections import Counter

import grpc

import rpc
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub
from rpc.resolver.xds import EngineChannels
from xds_client import Bootstrap, PilotExchanger, Target

DEADLINE = 2.0
PATIENCE = 120.0
PAUSE = 0.005


class Caller:
    """One thread that calls and notes."""

    def __init__(self, stub):
        self.codes, self.seconds = Counter(), []
        self.stopping = False
        self._stub = stub
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            begun = time.monotonic()
            try:
                self._stub.SayHello(HelloRequest(name="x"), timeout=DEADLINE)
                code = "OK"
            except grpc.RpcError as error:
                code = error.code().name
            self.codes[code] += 1
            self.seconds.append(time.monotonic() - begun)
            time.sleep(PAUSE)


class Lines(logging.Handler):
    """Counts what would be logged, and how much of it."""

    def __init__(self):
        super().__init__()
        self.lines = self.characters = 0

    def emit(self, record):
        self.lines += 1
        self.characters += len(record.getMessage())


def main():
    lines = Lines()
    logging.getLogger("xds_client").addHandler(lines)
    logging.getLogger("rpc").addHandler(lines)
    richer = threading.Event()
    with PilotExchanger(Bootstrap.load(), channels=EngineChannels()) as exchanger:
        exchanger.observe_inbound(lambda _: None)
        exchanger.observe_target(
            Target("reviews", 9080), lambda config: len(config.virtual_host.routes) > 1 and richer.set()
        )
        stub = GreeterStub(rpc.insecure_channel("xds:///reviews.demo:9080", mesh=exchanger))
        stub.SayHello(HelloRequest(name="first"), timeout=60)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        callers = [Caller(stub) for _ in range(2)]
        print("ready", flush=True)  # noqa: T201 - how it talks to the test
        sys.stdin.readline()
        recovered = richer.wait(PATIENCE)
        for caller in callers:
            caller.stopping = True
            caller.thread.join()
        seconds = sorted(s for caller in callers for s in caller.seconds)
        report = {
            "codes": sum((caller.codes for caller in callers), Counter()),
            "calls": len(seconds),
            "median_ms": round(1e3 * statistics.median(seconds), 2),
            "p99_ms": round(1e3 * seconds[int(len(seconds) * 0.99)], 2),
            "slowest_ms": round(1e3 * seconds[-1], 2),
            "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10,
            "cpu_s": round(time.process_time(), 1),
            "log_lines": lines.lines,
            "log_characters": lines.characters,
            "recovered": recovered,
            "streams": exchanger.status().connection.streams,
        }
    print(json.dumps(report), flush=True)  # noqa: T201 - how it talks to the test


if __name__ == "__main__":
    main()
