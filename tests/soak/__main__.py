"""A long time of bad weather: random calls, cancels, deadlines, cut connections, restarted servers; is anything left?

    python -m tests.soak --mode sync --seconds 600 --tls --seed 7

Between rounds everything but one connection is closed and what the process holds is measured; that connection and its
server live through all rounds. One line of JSON a round. `test_soak` says what is too much.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import uvloop

import rpc
import rpc.aio
from bench.certificates import Authority
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub
from tests.rpc.script import PATIENCE
from tests.soak.actors import AioActor, SyncActor
from tests.soak.servers import AioServer, SyncServer

ROUNDS = 4
ROOT = Path(__file__).parents[2]
CLIENTS = {"sync": 6, "aio": 24}
STEADY_CALLS = 300  # a round, on the connection that stays
RESTARTS = (0.2, 1.5)  # seconds between them
GRACES = (None, 0, 0.05, 1)


class Soak:
    """What both worlds share. ``seconds``: of one round."""

    def __init__(self, asked):
        self.random = random.Random(asked.seed)
        self.seconds = asked.seconds / ROUNDS
        authority = Authority()
        self.server_credentials = rpc.ssl_server_credentials([authority.issue("server")]) if asked.tls else None
        self.client_credentials = rpc.ssl_channel_credentials(authority.root) if asked.tls else None
        self.counts = Counter()
        command = [sys.executable, "-m", "tests.soak.network", str(asked.seed)]
        self._network = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=ROOT)
        self.through = int(self._network.stdout.readline())

    def forward_to(self, port):
        self._network.stdin.write(f"{port}\n")
        self._network.stdin.flush()

    def channel(self, module, port):
        if self.client_credentials is None:
            return module.insecure_channel(f"127.0.0.1:{port}")
        return module.secure_channel(f"127.0.0.1:{port}", self.client_credentials)

    def report(self, number, tasks):
        gc.collect()
        time.sleep(1.5)  # connections that nobody waits on are looked after once a second
        ctypes.CDLL(None).malloc_trim(0)
        process = psutil.Process()
        said = {
            "round": number,
            "calls": self.counts.total(),
            "rss": process.memory_info().rss,
            "fds": process.num_fds(),
            "threads": process.num_threads(),
            "tasks": tasks,
            "objects": len(gc.get_objects()),
            "codes": dict(self.counts),
        }
        print(json.dumps(said), flush=True)  # noqa: T201 - whoever runs it reads it

    def close(self):
        self._network.stdin.close()
        self._network.kill()
        self._network.wait()
        self._network.stdout.close()


# ---- threads


def soak_threads(soak):
    steady = SyncServer(soak.server_credentials, threads=1)
    with soak.channel(rpc, steady.port) as kept:
        for number in range(ROUNDS):
            sync_round(soak)
            for _ in range(STEADY_CALLS):
                GreeterStub(kept).SayHello(HelloRequest(name="you"), timeout=PATIENCE)
                soak.counts["OK"] += 1
            soak.report(number, 0)
    steady.stop(0)


def sync_round(soak):
    server = SyncServer(soak.server_credentials)
    soak.forward_to(server.port)
    stopping, broken = threading.Event(), []

    def run(actor):
        try:
            actor.run(stopping)
        except BaseException as error:
            broken.append(error)
            raise

    with contextlib.ExitStack() as channels:
        opened = [channels.enter_context(soak.channel(rpc, soak.through)) for _ in range(2)]
        threads = [
            threading.Thread(
                target=run,
                args=(SyncActor(GreeterStub(opened[i % 2]), random.Random(soak.random.random()), soak.counts),),
            )
            for i in range(CLIENTS["sync"])
        ]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + soak.seconds
        while time.monotonic() < ends and not broken:
            time.sleep(soak.random.uniform(*RESTARTS))
            fresh = SyncServer(soak.server_credentials)
            soak.forward_to(fresh.port)
            server.stop(soak.random.choice(GRACES))
            server = fresh
        stopping.set()
        for thread in threads:
            thread.join(3 * PATIENCE)
            assert not thread.is_alive(), "a call hangs"
    server.stop(0)
    assert not broken, broken


# ---- asyncio


async def soak_loop(soak):
    steady = await AioServer(soak.server_credentials).start()
    async with soak.channel(rpc.aio, steady.port) as kept:
        for number in range(ROUNDS):
            await aio_round(soak)
            for _ in range(STEADY_CALLS):
                await GreeterStub(kept).SayHello(HelloRequest(name="you"), timeout=PATIENCE)
                soak.counts["OK"] += 1
            await asyncio.sleep(0.1)  # cancelled handlers end
            soak.report(number, len(asyncio.all_tasks()))
    await steady.stop(0)


async def aio_round(soak):
    server = await AioServer(soak.server_credentials).start()
    soak.forward_to(server.port)
    stopping = asyncio.Event()
    async with soak.channel(rpc.aio, soak.through) as one, soak.channel(rpc.aio, soak.through) as other:
        stubs = GreeterStub(one), GreeterStub(other)
        async with asyncio.timeout(soak.seconds + 3 * PATIENCE), asyncio.TaskGroup() as actors:
            for i in range(CLIENTS["aio"]):
                actor = AioActor(stubs[i % 2], random.Random(soak.random.random()), soak.counts)
                actors.create_task(actor.run(stopping))
            ends = time.monotonic() + soak.seconds
            while time.monotonic() < ends:
                await asyncio.sleep(soak.random.uniform(*RESTARTS))
                fresh = await AioServer(soak.server_credentials).start()
                soak.forward_to(fresh.port)
                await server.stop(soak.random.choice(GRACES))
                server = fresh
            stopping.set()
    await server.stop(0)


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=["sync", "aio", "uvloop"], default="sync")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    soak = Soak(asked)
    try:
        if asked.mode == "sync":
            soak_threads(soak)
        else:
            (uvloop if asked.mode == "uvloop" else asyncio).run(soak_loop(soak))
    finally:
        soak.close()


if __name__ == "__main__":
    main()
