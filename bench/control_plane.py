"""The channel to the control plane, by grpcio and by our engine: forks with a live stream, and reconnects.

    python -m bench.control_plane --forks 200 --reconnects 20

Interleaved, one after the other. A child opens a stream of its own after the fork and has ten seconds to learn a
cluster. A reconnect is timed from when the killed control plane is started again until a change made meanwhile is here.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rpc.engine_channels import EngineChannels
from xds_client import Bootstrap, PilotExchanger, ResourceType
from xds_client.channels import GRPCIO, Channels
from xds_client.node import Node

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: grpc, protocol: GRPC}]
  endpoints: [{address: ADDRESS}]
"""
CLUSTER = "outbound|9080||reviews.demo.svc.cluster.local"
MAKERS: dict[str, Channels] = {"grpcio": GRPCIO, "ours": EngineChannels()}
PATIENCE = 10


class ControlPlane:
    """localmesh in a process of its own, to be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{random.randrange(10_000, 30_000)}"
        self.say("10.0.0.1")
        self.start()

    def say(self, endpoint: str) -> None:
        (self._folder / "service.yaml").write_text(SERVICE.replace("ADDRESS", endpoint))

    def start(self) -> None:
        command = [sys.executable, "-m", "localmesh", str(self._folder), "--listen", self.address]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("serving")

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def exchanger(mesh: ControlPlane, channels: Channels) -> PilotExchanger:
    return PilotExchanger(Bootstrap(Node("127.0.0.1", "bench", "demo"), mesh.address, "plaintext"), channels=channels)


def fork_once(mesh: ControlPlane, channels: Channels) -> str:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)  # ends who hangs
        code = 1
        try:
            with exchanger(mesh, channels) as own:
                own.get(ResourceType.CLUSTER, CLUSTER, timeout=PATIENCE)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"
    return "worked" if os.WEXITSTATUS(status) == 0 else "failed"


def reconnect_once(mesh: ControlPlane, opened: PilotExchanger, endpoint: str) -> float:
    mesh.kill()
    mesh.say(endpoint)
    mesh.start()
    begun = time.perf_counter()
    while time.perf_counter() - begun < 6 * PATIENCE:
        known = opened.get(ResourceType.ENDPOINT, CLUSTER, timeout=PATIENCE)
        if known.localities[0].endpoints[0].address == endpoint:
            return time.perf_counter() - begun
        time.sleep(0.005)
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forks", type=int, default=200)
    parser.add_argument("--reconnects", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mesh = ControlPlane(Path(folder))
        try:
            for name, channels in MAKERS.items():
                with exchanger(mesh, channels) as live:
                    live.get(ResourceType.CLUSTER, CLUSTER, timeout=PATIENCE)
                    ends = [fork_once(mesh, channels) for _ in range(given.forks)]
                print(name, {end: ends.count(end) for end in sorted(set(ends))}, f"of {given.forks} children")
            for name, channels in MAKERS.items():
                with exchanger(mesh, channels) as live, live.observe(ResourceType.ENDPOINT, [CLUSTER], lambda _: None):
                    times = [reconnect_once(mesh, live, f"10.0.1.{i + 1}") for i in range(given.reconnects)]
                median, longest = statistics.median(times), max(times)
                print(f"{name}: a change is here {median:.2f} s after the restart (at most {longest:.2f} s)")
        finally:
            mesh.kill()


if __name__ == "__main__":
    main()
