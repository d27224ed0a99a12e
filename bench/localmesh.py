"""How long a big mesh keeps a laptop waiting: `python -m bench.localmesh`.

Writes a folder of ServiceEntries, serves it in a process of its own, joins it, edits it; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from xds_client import Bootstrap, PilotExchanger, Target

_SERVICES_A_FILE = 100
_PATIENCE = 120.0
_SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: s{number}, namespace: demo}}
spec:
  hosts: [s{number}.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 9080, name: grpc, protocol: GRPC}}]
  endpoints:
{endpoints}
"""
_ENDPOINT = (
    "  - {{address: 10.{high}.{low}.{number}, labels: {{app: s{service}, version: v1}}, serviceAccount: s{service}}}"
)


def write_mesh(folder: Path, services: int, endpoints: int) -> None:
    for first in range(0, services, _SERVICES_A_FILE):
        numbers = range(first, min(first + _SERVICES_A_FILE, services))
        text = "---\n".join(_service(number, endpoints) for number in numbers)
        (folder / f"services-{first:06}.yaml").write_text(text)


def _service(number: int, endpoints: int) -> str:
    high, low = divmod(number, 256)
    lines = (_ENDPOINT.format(high=high, low=low, number=one + 1, service=number) for one in range(endpoints))
    return _SERVICE.format(number=number, endpoints="\n".join(lines))


def measure(services: int, endpoints: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_mesh(folder, services, endpoints)
        began = time.monotonic()
        command = [sys.executable, "-m", "localmesh", name, "--listen", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                return {"services": services, "endpoints": services * endpoints, **_live(process, folder, began)}
            finally:
                process.terminate()


def _live(process: subprocess.Popen[str], folder: Path, began: float) -> dict[str, float]:
    assert process.stdout is not None
    address = process.stdout.readline().rpartition(" ")[2].strip()
    server = psutil.Process(process.pid)
    found = {"start_s": time.monotonic() - began, "start_cpu_s": sum(server.cpu_times()[:2])}
    settings = {
        "PROXYLESS_DISCOVERY_ADDRESS": address,
        "PROXYLESS_NAMESPACE": "demo",
        "PROXYLESS_SECURITY": "plaintext",
    }
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    joined = time.monotonic()
    target = Target.parse("s0.demo.svc.cluster.local:9080")
    with PilotExchanger(Bootstrap.load(settings)) as exchanger, exchanger.observe_target(target, told.put):
        told.get(timeout=_PATIENCE)
        found["first_client_s"] = time.monotonic() - joined
        edited = folder / "services-000000.yaml"
        changed = time.monotonic()
        edited.write_text(edited.read_text().replace("10.0.0.1,", "10.0.0.201,"))
        while "10.0.0.201" not in str(told.get(timeout=_PATIENCE)):
            pass
        found["edit_s"] = time.monotonic() - changed
    found["rss_mb"] = server.memory_info().rss / 1e6
    found["peak_rss_mb"] = _peak(process.pid)
    return {what: round(value, 2) for what, value in found.items()}


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM:"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.localmesh", description=__doc__)
    parser.add_argument("--services", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=10, help="of each service")
    asked = parser.parse_args()
    print(json.dumps(measure(asked.services, asked.endpoints)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
