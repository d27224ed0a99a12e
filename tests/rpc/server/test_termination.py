"""SIGTERM ends a server in the order that Kubernetes needs: not ready, still serving, GOAWAY, calls finish, end."""

import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub

SERVICER = """
import asyncio, sys, time
from concurrent import futures
import rpc, rpc.aio
from examples.hello.hello_pb2 import HelloReply
from examples.hello.hello_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server
DELAY, GRACE = float(sys.argv[1]), float(sys.argv[2])
"""

SYNC = """
class Greeter(GreeterServicer):
    def SayHello(self, request, context):
        time.sleep(float(request.name))
        return HelloReply(message="done")

server = rpc.server(futures.ThreadPoolExecutor(4))
add_GreeterServicer_to_server(Greeter(), server)
ports = server.add_insecure_port("127.0.0.1:0"), server.add_probe_port("127.0.0.1:0")
server.start()
print(*ports, flush=True)
rpc.serve_until_terminated(server, endpoint_delay=DELAY, grace=GRACE)
"""

AIO = """
class Greeter(GreeterServicer):
    async def SayHello(self, request, context):
        await asyncio.sleep(float(request.name))
        return HelloReply(message="done")

async def main():
    server = rpc.aio.server()
    add_GreeterServicer_to_server(Greeter(), server)
    ports = server.add_insecure_port("127.0.0.1:0"), server.add_probe_port("127.0.0.1:0")
    await server.start()
    print(*ports, flush=True)
    await rpc.aio.serve_until_terminated(server, endpoint_delay=DELAY, grace=GRACE)

asyncio.run(main())
"""


def until_it_takes_signals(process):
    """It has told its ports before: a signal that came meanwhile would just end it."""
    until = time.monotonic() + 20
    sigterm = 1 << (signal.SIGTERM - 1)
    while True:
        [caught] = re.findall(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
        if int(caught, 16) & sigterm:
            return
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture(params=[SYNC, AIO], ids=["sync", "aio"])
def start(request):
    started = []

    def start(delay, grace):
        script = textwrap.dedent(SERVICER + request.param)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(delay), str(grace)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        ports = process.stdout.readline().split()
        until_it_takes_signals(process)
        return process, *ports

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_after_sigterm_it_is_not_ready_serves_on_and_loses_no_call(start):
    process, port, probe_port = start(4, 20)
    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{probe_port}") as kubelet,
    ):
        stub, health = GreeterStub(channel), health_pb2_grpc.HealthStub(kubelet)
        ask = health_pb2.HealthCheckRequest()
        assert health.Check(ask, timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 10
        while health.Check(ask, timeout=10).status == health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < until, "it does not say that it ends"
        # New calls are still taken, and one that outlives the delay is answered.
        assert stub.SayHello(HelloRequest(name="0"), timeout=10).message == "done"
        assert stub.SayHello(HelloRequest(name="6"), timeout=20).message == "done"
    assert process.wait(20) == 0


def test_a_second_signal_ends_it_at_once(start):
    process, port, _ = start(60, 60)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = GreeterStub(channel).SayHello.future(HelloRequest(name="0"), timeout=30)
        assert call.result().message == "done"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # two signals at once may be one
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_after_ctrl_c_it_says_what_it_waits_for_and_that_a_second_one_ends_at_once(start):
    process, *_ = start(60, 20)
    process.send_signal(signal.SIGINT)
    said = process.stderr.readline()
    assert said.startswith("ending: serves on for 60 s while clients hear of it, then calls in progress have 20 s; ")
    assert said.endswith("a second Ctrl-C ends at once\n")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_after_sigterm_nothing_is_printed(start):
    process, *_ = start(0, 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert process.stderr.read() == ""
