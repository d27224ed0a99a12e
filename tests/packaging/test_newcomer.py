"""A newcomer's path, on a fresh virtual environment, with the README's own lines: install, hello world, YAML of one's
own, mutual TLS, pytest. Everything listens on loopback addresses that are this test's alone.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.packaging.running import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = (ROOT / "README.md").read_text()
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


def blocks(language: str, after: str) -> list[str]:
    """Those of the README's section of this title."""
    [section] = re.findall(rf"^## {after}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


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
        block = block.replace("127.0.0.1", self.ip)
        block = block.replace("localmesh env", f"localmesh env --ip {self.ip} --discovery-address {self.ip}:{port}")
        return re.sub(r"(localmesh (?!env).*)", rf"\1 --listen {self.ip}:15010", block)

    def says(self, block: str) -> str:
        """Runs to its end."""
        command = ["bash", "-ec", self._here(block)]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serving(self, block: str) -> Iterator[None]:
        """Goes on until the end of the context; begun once it has said that it serves."""
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
                said = []
                while line := process.stdout.readline():
                    said.append(line)
                    if line.startswith("serving"):
                        break
                else:
                    pytest.fail(f"{block} ended:\n{''.join(said)}")
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.stdout.read()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """In a folder that has the example, and nothing of ours that is to be installed."""
    shell = Shell(tmp_path)
    hello = tmp_path / "examples" / "hello"
    shutil.copytree(ROOT / "examples" / "hello", hello, ignore=shutil.ignore_patterns("*_pb2*", "__pycache__"))
    shutil.copy(ROOT / "examples" / "__init__.py", tmp_path / "examples")
    for file in [*hello.rglob("*.py"), *hello.rglob("*.yaml")]:
        file.write_text(file.read_text().replace("127.0.0.1", shell.ip))
    return shell


@pytest.mark.timeout(900)
def test_a_newcomers_path(wheel: Path, shell: Shell) -> None:
    run(sys.executable, "-m", "venv", ".venv", cwd=shell.folder)
    pins = re.findall(r"^[\w.-]+==[^\s;]+", (ROOT / "requirements" / "dev.lock").read_text(), re.MULTILINE)
    (shell.folder / "constraints.txt").write_text("\n".join(pins))
    [install] = blocks("sh", "Install it")
    shell.says(f"export PIP_CONSTRAINT=constraints.txt\n{install.replace('/path/to/this/clone', str(wheel))}")
    shell.says("PIP_CONSTRAINT=constraints.txt pip install --quiet grpcio-tools pytest")
    shell.says("python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. examples/hello/hello.proto")

    _make, mesh, server, client, secure_mesh, secure_server, secure_client = blocks("sh", "Try it")
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

    [test] = [block for block in blocks("python", "Use it") if "import pytest" in block]
    (shell.folder / "test_hello.py").write_text(test.replace("127.0.0.1", shell.ip))
    assert "1 passed" in shell.says("python -m pytest -q test_hello.py")
