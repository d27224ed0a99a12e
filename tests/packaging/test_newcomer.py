"""A newcomer's path, on a fresh virtual environment, with the documents' own lines: install, hello world, YAML of one's
own, mutual TLS, pytest, and what of docs/into-the-mesh.md needs no Kubernetes. Everything listens on loopback addresses
that are this test's alone.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.docs.pages import blocks, section
from tests.packaging.running import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README, PAGE = ROOT / "README.md", ROOT / "docs" / "into-the-mesh.md"
OWN_YAML = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop, namespace: demo}}
spec:
  hosts: [shop.demo.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: grpc, protocol: GRPC, targetPort: 50051}}]
  endpoints: [{{address: {ip}}}]
"""


def shown(language: str, after: str, page: Path = README) -> list[str]:
    """The blocks of the page's section of this title."""
    return blocks(section(page, after), language)


def health(address: str, service: str = "") -> health_pb2.HealthCheckResponse:
    """As the kubelet asks."""
    with grpc.insecure_channel(address) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=20, wait_for_ready=True
        )


class Shell:
    """Terminals in the newcomer's folder, whose virtual environment is ``.venv``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ip = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PROXYLESS_", "PYTEST_", "PYTHON"))
        }
        self._environment = kept | {"PATH": f"{folder}/.venv/bin:{os.environ['PATH']}", "GRPC_VERBOSITY": "ERROR"}

    def _here(self, block: str) -> str:
        """The same lines on this test's addresses."""
        port = 15012 if "--ca" in block else 15010
        block = block.replace("127.0.0.1", self.ip).replace("[::]", self.ip)
        block = block.replace("localmesh env", f"localmesh env --ip {self.ip} --discovery-address {self.ip}:{port}")
        return re.sub(r"(localmesh (?!env|token).*)", rf"\1 --listen {self.ip}:15010", block)

    def says(self, block: str) -> str:
        """Runs to its end."""
        command = ["bash", "-ec", self._here(block)]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, block: str) -> Iterator[subprocess.Popen[str]]:
        """Goes on until the end of the context."""
        with subprocess.Popen(
            ["bash", "-ec", self._here(block)],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as process:
            assert process.stdout is not None
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                process.stdout.read()

    @contextmanager
    def serving(self, block: str) -> Iterator[None]:
        """Begun once it has said that it serves."""
        with self.running(block) as process:
            assert process.stdout is not None
            said = []
            while line := process.stdout.readline():
                said.append(line)
                if line.startswith("serving"):
                    break
            else:
                pytest.fail(f"{block} ended:\n{''.join(said)}")
            yield


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def install(shell: Shell, wheel: Path) -> None:
    """As the README says, but for where the clone is: its wheel is there already, and its example is copied as it is
    committed.
    """
    pins = re.findall(r"^[\w.-]+==[^\s;]+", (ROOT / "requirements" / "dev.lock").read_text(), re.MULTILINE)
    (shell.folder / "constraints.txt").write_text("\n".join(pins))
    clone = shell.folder / "clone"
    files = run("git", "ls-files", "examples", cwd=ROOT).split()
    for name in files:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    first, folder = shown("sh", "Install it")
    pinned = "export PIP_CONSTRAINT=constraints.txt\n"
    shell.says(pinned + first.replace("/path/to/this/clone", str(wheel)).replace("python3 ", f"{sys.executable} "))
    shell.says(pinned + folder.replace("/path/to/this/clone", str(clone)))
    hello = shell.folder / "examples" / "hello"
    for file in [*hello.glob("*.py"), *hello.rglob("*.yaml")]:
        file.write_text(file.read_text().replace("127.0.0.1", shell.ip))


@pytest.mark.timeout(900)
def test_a_newcomers_path(wheel: Path, shell: Shell) -> None:
    install(shell, wheel)
    assert re.fullmatch(r"proxyless \d[\w.]*\n", shell.says(".venv/bin/proxyless --version"))

    _make, mesh, server, client, secure_mesh, secure_server, secure_client = shown("sh", "Try it")
    with shell.serving(mesh), shell.serving(server):
        said = shell.says(client)
        assert said.startswith("Hello you, says somebody!\n")
        assert f"{shell.ip}:50051" in said
    own = shell.folder / "own-mesh"
    own.mkdir()
    with shell.serving(mesh.replace("examples/hello/mesh", "own-mesh")), shell.serving(server):
        (own / "shop.yaml").write_text(OWN_YAML.format(ip=shell.ip))  # served from now on
        env, *_ = client.splitlines()
        said = shell.says(f"{env}\n.venv/bin/python -m examples.hello.client xds:///shop.demo:80")
        assert said == "Hello you, says somebody!\n"
    with shell.serving(secure_mesh), shell.serving(secure_server):
        said = shell.says(secure_client)
        assert said == "Hello you, says spiffe://cluster.local/ns/demo/sa/web!\n"
        look_before_migrating(shell)

    [test] = [block for block in shown("python", "Use it") if "import pytest" in block]
    (shell.folder / "test_hello.py").write_text(test.replace("127.0.0.1", shell.ip))
    assert "1 passed" in shell.says("python -m pytest -q test_hello.py")
    with shell.serving(secure_mesh):
        the_pages_program_is_probed_and_ends(shell, secure_server)


def look_before_migrating(shell: Shell) -> None:
    """The page's variables, against localmesh in place of a port-forward; what kubectl fetches comes from it too."""
    [look] = shown("sh", "From a sidecar, and back", PAGE)
    lines = [line for line in look.splitlines() if not line.startswith("kubectl")]
    token = ".venv/bin/proxyless localmesh token --ca .build/hello-ca --namespace demo --service-account shop"
    fetched = f"{token} > istio-token\ncp .build/hello-ca/root-cert.pem .\n"
    said = shell.says(fetched + "\n".join(lines).replace("payments", "greeter"))
    assert "route table greeter.demo.svc.cluster.local:9080" in said


def the_pages_program_is_probed_and_ends(shell: Shell, as_greeter: str) -> None:
    [program] = shown("python", "The program", PAGE)
    (shell.folder / "shop.py").write_text(program.replace("[::]", shell.ip))
    env, _ = as_greeter.splitlines()
    probes = f"{shell.ip}:9081"
    with shell.running(f"{env}\nexec .venv/bin/python shop.py") as process:
        until = time.monotonic() + 60
        while health(probes).status != health_pb2.HealthCheckResponse.SERVING:
            assert time.monotonic() < until
        assert health(probes, "liveness").status == health_pb2.HealthCheckResponse.SERVING
        process.terminate()
        assert process.wait(60) == 0
