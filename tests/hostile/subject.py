"""Who is attacked, as a process of its own: it calls one service of the mesh all the time, and tells how that went.

``python -m tests.hostile.subject QUIET``: prints a line once calls have gone through for so many seconds, and its
report, as JSON, once a line came in and the richer route is there, or PATIENCE is over. What calls cost in the quiet
seconds is told beside: the same process on the same machine, with nobody who attacks.
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
from rpc.engine_channels import EngineChannels
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

    def taken(self):
        seconds, self.seconds = self.seconds, []
        return seconds

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


def of_calls(callers):
    """What the calls so far cost, in milliseconds; the next ones are counted anew."""
    seconds = sorted(s for caller in callers for s in caller.taken())
    return {
        "calls": len(seconds),
        "median_ms": round(1e3 * statistics.median(seconds), 2),
        "p99_ms": round(1e3 * seconds[int(len(seconds) * 0.99)], 2),
        "slowest_ms": round(1e3 * seconds[-1], 2),
    }


class Lines(logging.Handler):
    """Counts what would be logged, and how much of it."""

    def __init__(self):
        super().__init__()
        self.lines = self.characters = 0

    def emit(self, record):
        self.lines += 1
        self.characters += len(record.getMessage())


def main(quiet):
    lines = Lines()
    logging.getLogger("proxyless").addHandler(lines)
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
        time.sleep(float(quiet))
        calm = of_calls(callers)
        print("ready", flush=True)  # noqa: T201 - how it talks to the test
        sys.stdin.readline()
        recovered = richer.wait(PATIENCE)
        for caller in callers:
            caller.stopping = True
            caller.thread.join()
        report = {
            "codes": sum((caller.codes for caller in callers), Counter()),
            **of_calls(callers),
            "quiet": calm,
            "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10,
            "cpu_s": round(time.process_time(), 1),
            "log_lines": lines.lines,
            "log_characters": lines.characters,
            "recovered": recovered,
            "streams": exchanger.status().connection.streams,
        }
    print(json.dumps(report), flush=True)  # noqa: T201 - how it talks to the test


if __name__ == "__main__":
    main(*sys.argv[1:])
