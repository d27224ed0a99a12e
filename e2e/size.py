"""What workers cost the real istiod, and what one needs itself: python -m e2e.size [WORKERS] (docs/into-the-mesh.md).

Each worker is an exchanger with a certificate, three targets and its inbound listener, all in one process here; to
istiod each is a proxy of its own. 200 services of 5 endpoints.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rpc  # noqa: F401 - the stream goes over our own engine
from e2e import yamls
from e2e.calls import until
from e2e.mesh import IstiodMesh
from xds_client import Bootstrap, IdentitySettings, Node, PilotExchanger, Target

SERVICES, ENDPOINTS, TARGETS, EDITS = 200, 5, 3, 5
SERVER_NAME = "istiod.istio-system.svc"
WORKER = """
import os, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

def say(what):
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory, threads = int(status["VmRSS"].split()[0]) / 1024, status["Threads"].strip()
    print(f"{what}: {memory:.0f} MiB, {threads} threads, {len(os.listdir('/proc/self/fd'))} descriptors")

import grpc
say("a worker, grpcio imported")
from proxyless import rpc
server = rpc.server(ThreadPoolExecutor(8))
server.add_secure_port("[::]:0", rpc.xds_server_credentials())
server.add_probe_port("[::]:0")
server.start()
channels = [rpc.insecure_channel(target) for target in sys.argv[1:]]
for channel in channels:
    channel.subscribe(lambda state: None, try_to_connect=False)
while not server.ready:
    time.sleep(0.1)
time.sleep(2)
say("a worker that is a member")
before = time.process_time()
time.sleep(10)
print(f"in 10 quiet seconds: {(time.process_time() - before) * 1000:.1f} ms of CPU")
"""


def used(process: int) -> tuple[float, float]:
    """Seconds of CPU so far, MiB of memory now."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def configure(mesh: IstiodMesh) -> None:
    services = [yamls.service_entry(f"s{number}") for number in range(SERVICES)]
    workloads = [
        yamls.workload_entry(f"s{n}-{m}", f"10.{n // 100}.{n % 100}.{m + 1}", f"s{n}", "v1")
        for n in range(SERVICES)
        for m in range(ENDPOINTS)
    ]
    mesh.apply("services", yamls.documents(*services, *workloads))


def edit(mesh: IstiodMesh, first: int) -> None:
    for number in range(EDITS):
        route = {"timeout": f"{first + number}s", "route": [{"destination": {"host": yamls.fqdn("s0")}}]}
        mesh.apply("routes", yamls.documents(yamls.virtual_service("s0", route)))
        time.sleep(1.5)


def join(mesh: IstiodMesh, number: int) -> tuple[PilotExchanger, dict[str, object]]:
    token = mesh.state / f"token-{number}"
    token.write_text(mesh.token("demo", "web"))
    identity = IdentitySettings(token_path=str(token), root_certificate_path=str(mesh.root), server_name=SERVER_NAME)
    node = Node(f"10.9.{number // 250}.{number % 250 + 1}", f"web-{number}", "demo", service_account="web")
    worker = PilotExchanger(Bootstrap(node, mesh.secure_address, "tls", identity))
    told: dict[str, object] = {}
    for target in targets():
        worker.observe_target(Target.parse(target), lambda config, target=target: told.update({target: config}))
    worker.observe_inbound(lambda listener: told.update(inbound=listener))
    return worker, told


def targets() -> list[str]:
    return [f"xds:///s{number}.demo:9080" for number in range(TARGETS)]


def one_worker(mesh: IstiodMesh) -> None:
    token = mesh.state / "token"
    token.write_text(mesh.token("demo", "web"))
    settings = {
        "DISCOVERY_ADDRESS": mesh.secure_address,
        "TOKEN_PATH": str(token),
        "ROOT_CERTIFICATE_PATH": str(mesh.root),
        "SERVER_NAME": SERVER_NAME,
        "NAMESPACE": "demo",
        "IP": "10.9.9.9",
    }
    environment = os.environ | {f"PROXYLESS_{name}": value for name, value in settings.items()}
    subprocess.run([sys.executable, "-c", WORKER, *targets()], env=environment, check=True)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mesh = IstiodMesh(Path(folder), auto_mtls=True)
        configure(mesh)
        mesh.start()
        try:
            measure(mesh, count)
        finally:
            mesh.stop()


def measure(mesh: IstiodMesh, count: int) -> None:
    assert mesh.child.pid is not None
    time.sleep(3)
    one_worker(mesh)
    edit(mesh, 1)  # and what grows once has grown
    before = used(mesh.child.pid)
    edit(mesh, 11)
    after = used(mesh.child.pid)
    print(f"an edit without workers: {(after[0] - before[0]) / EDITS * 1000:.0f} ms of istiod's CPU", flush=True)

    workers = [join(mesh, number) for number in range(count)]
    until(lambda: all(len(told) == TARGETS + 1 and one.status().ready for one, told in workers), 120, "all are told")
    time.sleep(3)
    joined = used(mesh.child.pid)
    cpu, memory = (joined[0] - after[0]) / count * 1000, (joined[1] - after[1]) / count
    print(f"each of {count} workers that join: {cpu:.0f} ms, {memory:.2f} MiB", flush=True)
    time.sleep(15)
    quiet = used(mesh.child.pid)
    print(f"in quiet: {(quiet[0] - joined[0]) / 15 * 100:.2f} % of a core for all", flush=True)
    edit(mesh, 21)
    edited = used(mesh.child.pid)
    print(
        f"an edit with {count}: {(edited[0] - quiet[0]) / EDITS * 1000:.0f} ms; {edited[1]:.0f} MiB in all", flush=True
    )
    for worker, _ in workers:
        worker.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
