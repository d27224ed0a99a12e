from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rpc.script import PATIENCE

HERE = Path(__file__).parent
BUILD_SECONDS = 600


@pytest.fixture(scope="session")
def grpc_go():
    """grpc-go's ends of the cases, built from its module (a minute with a cold cache)."""
    if shutil.which("go") is None:
        pytest.skip("no 'go' on the PATH: the interop cases against grpc-go need Go 1.26 or newer")
    built = subprocess.run([HERE / "go" / "build"], capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert built.returncode == 0, built.stderr
    return HERE.parents[1] / ".build" / "interop"


@pytest.fixture(scope="session")
def go_server(grpc_go):
    """The address of grpc-go's test server."""
    command = [grpc_go, "server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
