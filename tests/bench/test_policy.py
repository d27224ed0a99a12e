"""`python -m bench policy`: what a policy of the mesh costs a call."""

from __future__ import annotations

import json
import subprocess
import sys

import grpc
import pytest

from bench import guarded, stacks
from bench.rows import POLICY_ROWS


def test_rows_have_their_share_of_a_port_without_a_policy():
    asked = ["tokens_calls_per_s_sync_16", "rules-20_calls_per_s_aio_64"]
    command = [sys.executable, "-m", "bench", "policy", "--rounds", "1", "--json", "--rows", ",".join(asked)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [entry["name"] for entry in found] == asked
    assert all(entry["ratio"] > 0 for entry in found)


@pytest.mark.parametrize("name", sorted({row.ours[1] for row in POLICY_ROWS}))
def test_the_policy_that_is_measured_is_one(name, tmp_path, monkeypatch):
    """Who says what is not so is refused: the row measures decisions, not an open door."""
    monkeypatch.setenv(guarded.MATERIAL, "")  # as it was, afterwards
    stacks.make_material(tmp_path)
    stack = stacks.STACKS[name]
    server = stack.server()
    stack.equip(server, False)
    port = stack.bind(server, "127.0.0.1:0")
    server.start()
    with stack.channel(f"127.0.0.1:{port}") as channel:
        assert stack.stub(channel).SayHello(stack.request(1))
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/hello.Greeter/Nothing")(b"", metadata=(("authorization", "Bearer forged"),))
        assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
    server.stop(None).wait()
