"""gRPC's interop cases: our ends with grpc-go's. grpcio with grpc-go is the control."""

from __future__ import annotations

import itertools
import subprocess

import pytest

from tests.interop.callers import connect
from tests.interop.cases import CASES
from tests.interop.conftest import BUILD_SECONDS
from tests.interop.serving import serving
from tests.rpc.script import PATIENCE

pytestmark = pytest.mark.timeout(BUILD_SECONDS + 60)

# What this release does not do yet. Strict: whoever adds it has to take it off here.
NOT_YET = {
    "client": {},
    "server": {},
}


def cases(role):
    """Every case with every end of ours (or the control's)."""
    return [
        pytest.param(
            end,
            name,
            id=f"{end[0]}-{end[1]}-{name}",
            marks=[pytest.mark.xfail(strict=True)] if name in NOT_YET[role].get(end, ()) else [],
        )
        for end in itertools.product(("ours", "grpcio"), ("sync", "aio"))
        for name in CASES
    ]


@pytest.mark.parametrize(("end", "name"), cases("client"))
def test_client_to_grpc_go(go_server, end, name):
    with connect(*end, go_server) as caller:
        CASES[name](caller)


@pytest.mark.parametrize(("end", "name"), cases("server"))
def test_grpc_go_to_server(grpc_go, end, name):
    with serving(*end) as port:
        command = [grpc_go, "client", "-target", f"127.0.0.1:{port}", "-case", name]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    if (end, name) == (("grpcio", "aio"), "server_compressed_unary"):
        # grpcio's asyncio server ignores set_compression in unary methods; ours does not.
        assert "the response came compressed=false, asked was true" in ran.stderr
        return
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{name} passed\n"
