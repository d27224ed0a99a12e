"""Peers in other languages, built from their sources, and measured beside ours (`make interop`)."""

from __future__ import annotations

import json
import shutil

import pytest

from bench import rungs
from bench.layers import SHAPES, Once
from bench.peers import PEERS, RAW, build
from bench.processes import Cores
from bench.rounds import Plan
from tests.bench.command import run

SYNC, _, _, BUSY_AIO = SHAPES
BUILD_SECONDS = 900


@pytest.mark.timeout(BUILD_SECONDS + 50)
@pytest.mark.parametrize("row", ["unary_p50_sync", "unary_1mib_mb_per_s", "server_stream_msgs_per_s_aio"])
def test_peers_run_beside_ours(row):
    tools = {peer.tool for peer in PEERS.values()}
    if missing := [tool for tool in sorted(tools) if shutil.which(tool) is None]:
        pytest.skip(f"not on the PATH: {', '.join(missing)}; tonic and the raw socket need cargo, grpc-go needs go")
    done = run("--peers", "--quick", "--json", "--rows", row, "--rounds", "1", timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stderr
    entries = {entry["name"]: entry for entry in json.loads(done.stdout.splitlines()[-1])}
    assert list(entries) == [row, *(f"{row}_vs_{name}" for name in PEERS)]
    for entry in entries.values():
        assert set(entry) == {"name", "ours", "rival", "unit", "ratio"}
        assert entry["rival"] > 0


@pytest.mark.timeout(BUILD_SECONDS + 50)
@pytest.mark.parametrize("shape", [SYNC, BUSY_AIO], ids=lambda shape: shape.name)
def test_every_layer_is_measured(shape, tmp_path):
    if shutil.which(RAW.tool) is None:
        pytest.skip(f"no '{RAW.tool}' on the PATH: the raw socket's ends are in Rust")
    build(RAW, print)
    account = rungs.account(
        shape, Once({1: 2.0, 16: 1.6, 64: 1.6}, 0.1), Plan(2, 0.1, 0.1), Cores.choose(), tmp_path, print
    )
    assert list(account.rungs) == list(shape.rungs)
    for rung in account.rungs.values():
        assert rung.rate > 0
        assert sum(rung.client) > 0
        assert sum(rung.server) > 0
    client, server = account.crossings
    assert 1 <= client < 10
    assert 2 <= server < 20
    assert account.samples
