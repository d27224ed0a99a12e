"""The built wheel works in an environment that has nothing else of ours, and holds what it should."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.packaging.running import run

if TYPE_CHECKING:
    from pathlib import Path

ONE_CALL = """
import grpc, rpc
from concurrent import futures

def echo(request, context):
    return request

server = rpc.server(futures.ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(echo)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("smoke.Echo", {"Say": handler})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    assert channel.unary_unary("/smoke.Echo/Say")(b"hello", timeout=10) == b"hello"
server.stop(None).wait()

import xds_client
xds_client.Target.parse("xds:///reviews.demo:9080")
print("one call made by", rpc.__file__)
"""


@pytest.mark.timeout(600)
def test_the_wheel_makes_a_call_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "empty", cwd=tmp_path)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    said = run(python, "-W", "error", "-c", ONE_CALL, cwd=tmp_path)
    assert str(tmp_path) in said
    missing = subprocess.run(
        [python, "-m", "proxyless", "status"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (missing.returncode, "proxyless[cli]" in missing.stderr) == (2, True), missing


@pytest.mark.timeout(600)
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "proxyless_native",
        "rpc",
        "xds_client",
        "localmesh",
        "proxyless",
    }
    assert {"proxyless/rpc/__init__.pyi", "proxyless/rpc/aio.pyi", "proxyless/xds/model.pyi"} <= set(names)
    assert {"rpc/py.typed", "xds_client/py.typed", "rpc/_native.pyi"} <= set(names)
    assert any(name.startswith("proxyless_native/_native") and name.endswith(".so") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.endswith("_pb2.py")]
