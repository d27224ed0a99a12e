"""A hostile control plane costs the process its news, and nothing else: calls go on by the last good configuration.

Three seconds of each attack; ``--hostile-seconds 60`` is the whole form, which prints what calls cost meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import pytest

import rpc
from examples.hello.hello_pb2_grpc import add_GreeterServicer_to_server
from tests.hostile.plane import ATTACKS
from tests.hostile.subject import DEADLINE, PATIENCE
from tests.rpc.script import SyncServicer, polite

ROOT = Path(__file__).parents[2]
WHOLE = 60  # seconds, from which on figures are asserted
SLACK = 3.0  # seconds by which a call may come late on a slow machine
P99 = 50.0  # milliseconds by which an attack may add to what calls cost in quiet
GROWN = 800  # megabytes at the most, however long it lasts
LOGGED = 200_000  # characters a second


@pytest.fixture
def service():
    server = rpc.server(futures.ThreadPoolExecutor(4))
    add_GreeterServicer_to_server(SyncServicer(polite), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@pytest.fixture
def process():
    """Start modules as processes that end with the test."""
    started = []

    def start(module, *arguments, **environment):
        command = [sys.executable, "-m", module, *map(str, arguments)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, **streams))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def say(process):
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("attack", ATTACKS)
def test_the_last_good_configuration_stays_in_use_under(attack, service, process, request, capsys):
    seconds = request.config.getoption("hostile_seconds")
    plane = process("tests.hostile.plane", attack, seconds, service)
    address = plane.stdout.readline().strip()
    settings = {"DISCOVERY_ADDRESS": address, "SECURITY": "plaintext", "NAMESPACE": "demo", "IP": "10.0.0.1"}
    subject = process(
        "tests.hostile.subject", seconds / 4, **{f"PROXYLESS_{key}": value for key, value in settings.items()}
    )
    assert subject.stdout.readline() == "ready\n"
    say(plane)
    steps = plane.stdout.readline().strip()
    say(subject)
    report = json.loads(subject.stdout.readline())
    with capsys.disabled():
        if seconds >= WHOLE:
            print(f"\n{attack}: {steps} pushes, {report}")  # noqa: T201 - the whole form is for its figures
    assert set(report["codes"]) == {"OK"}, report
    assert report["slowest_ms"] < 1e3 * (DEADLINE + SLACK), report
    assert report["grown_mb"] < GROWN, report
    assert report["log_characters"] < LOGGED * (seconds + PATIENCE), report
    assert report["recovered"], report
    if seconds >= WHOLE:
        assert report["p99_ms"] < report["quiet"]["p99_ms"] + P99, report
