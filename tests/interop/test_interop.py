"""gRPC's interop cases: our ends with grpc-go's. grpcio with grpc-go is the control."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from bench.certificates import Pair
from tests.interop.callers import connect
from tests.interop.cases import CASES
from tests.interop.conftest import BUILD_SECONDS
from tests.interop.serving import serving
from tests.rpc.script import PATIENCE

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 60)

ENDS = list(itertools.product(("ours", "grpcio"), ("sync", "aio")))
every_end = pytest.mark.parametrize("end", ENDS, ids="-".join)
every_case = pytest.mark.parametrize("name", CASES)


@every_end
@every_case
def test_client_to_grpc_go(go_server, material, end, name):
    with connect(*end, go_server, material and material.root.read_bytes()) as caller:
        CASES[name](caller)


@every_end
@every_case
def test_grpc_go_to_server(grpc_go, material, end, name):
    pair = material and Pair(material.key.read_bytes(), material.chain.read_bytes())
    with serving(*end, credentials=pair) as port:
        command = [grpc_go, "client", "-target", f"127.0.0.1:{port}", "-case", name]
        command += ["-root", material.root] if material else []
        ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    if (end, name) == (("grpcio", "aio"), "server_compressed_unary"):
        # grpcio's asyncio server ignores set_compression in unary methods; ours does not.
        assert "the response came compressed=false, asked was true" in ran.stderr
        return
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{name} passed\n"
