from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.certificates import Authority
from tests.rpc.script import PATIENCE

HERE = Path(__file__).parent
BUILD_SECONDS = 600


class Material(NamedTuple):
    root: Path
    chain: Path
    key: Path


@pytest.fixture(scope="session")
def grpc_go():
    """grpc-go's ends of the cases, built from its module (a minute with a cold cache)."""
    if shutil.which("go") is None:
        pytest.skip("no 'go' on the PATH: the interop cases against grpc-go need Go 1.26 or newer")
    built = subprocess.run([HERE / "go" / "build"], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert built.returncode == 0, built.stderr
    return HERE.parents[1] / ".build" / "interop"


@pytest.fixture(scope="session", params=["plaintext", "tls"])
def material(request, tmp_path_factory):
    """None, or the files of a root and of a server's certificate and key."""
    if request.param == "plaintext":
        return None
    authority, folder = Authority(), tmp_path_factory.mktemp("certificates")
    server = authority.issue("server")
    files = Material(folder / "root.pem", folder / "chain.pem", folder / "key.pem")
    for file, pem in zip(files, (authority.root, server.chain, server.key), strict=True):
        file.write_bytes(pem)
    return files


@pytest.fixture(scope="session")
def go_server(grpc_go, material):
    """The address of grpc-go's test server."""
    command = [grpc_go, "server", *(["-cert", material.chain, "-key", material.key] if material else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
