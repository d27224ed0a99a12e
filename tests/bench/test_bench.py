"""The measurements themselves: orientation of the ratios, and one real row through the command line."""

import json
from pathlib import Path

import pytest

from bench.processes import Worker
from bench.report import as_json, peers_table
from bench.rounds import Result
from bench.rows import ROWS, TLS_ROWS
from tests.bench.command import run

BY_NAME = {row.name: row for row in ROWS}


@pytest.mark.parametrize(
    ("name", "ours", "rival"),
    [("unary_p50_sync", 10.0, 40.0), ("calls_per_s_sync_16", 40.0, 10.0), ("cpu_per_call", 10.0, 40.0)],
)
def test_a_ratio_above_one_means_that_ours_is_better(name, ours, rival):
    assert BY_NAME[name].ratio(ours, rival) == 4.0


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    result = Result(BY_NAME["calls_per_s_aio_64"], ours=(10.0, 90.0, 40.0), rival=(10.0, 10.0, 20.0))
    assert result.ratio == 2.0


def test_peers_have_entries_of_their_own_beside_an_unchanged_one_for_grpcio():
    peers = {"tonic": (5.0, 7.0, 9.0)}
    result = Result(BY_NAME["unary_p50_sync"], ours=(10.0, 10.0, 10.0), rival=(40.0, 40.0, 40.0), peers=peers)
    grpcio, tonic, absent = as_json([result], {"grpc-go": "no 'go' on the PATH"})
    assert grpcio == {"name": "unary_p50_sync", "ours": 10.0, "rival": 40.0, "unit": "µs", "ratio": 4.0}
    assert tonic == {"name": "unary_p50_sync_vs_tonic", "ours": 10.0, "rival": 7.0, "unit": "µs", "ratio": 0.7}
    assert absent["name"] == "unary_p50_sync_vs_grpc-go"
    assert absent["absent"] == "no 'go' on the PATH"
    assert (absent["rival"], absent["ratio"]) == (None, None)


def test_the_table_of_peers_says_who_is_absent_and_why():
    peers = {"tonic": (5.0,), "raw": (2.5,)}
    rows = [Result(BY_NAME[name], (10.0,), (40.0,), peers) for name in ("unary_p50_sync", "client_only_p50_sync")]
    said = peers_table(rows, {"grpc-go": "no 'go' on the PATH"})
    _, _, row, reason = said.splitlines()
    assert row.split() == [
        "unary_p50_sync",
        "µs",
        "10.0",
        "40.0",
        "(4.00x)",
        "absent",
        "5.0",
        "(0.50x)",
        "2.5",
        "(0.25x)",
    ]
    assert reason == "grpc-go is absent: no 'go' on the PATH"


def test_peers_stand_beside_whole_stacks_in_plaintext_only():
    beside = {row.name for row in (*ROWS, *TLS_ROWS) if row.beside_peers}
    assert beside == {
        "unary_p50_sync",
        "unary_p50_aio",
        "calls_per_s_sync_16",
        "calls_per_s_aio_64",
        "server_stream_msgs_per_s",
        "server_stream_msgs_per_s_aio",
        "unary_1mib_mb_per_s",
        "cpu_per_call",
    }


def test_no_stack_sees_what_only_one_of_them_is_tuned_or_misled_by(monkeypatch):
    for name in ("GRPC_VERBOSITY", "grpc_proxy", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "debug")
    monkeypatch.setenv("KEPT", "yes")
    worker = Worker("server", None, "ours", "--mode", "sync")
    try:
        worker.hear(30)
        seen = Path(f"/proc/{worker.pid}/environ").read_text().split("\0")
    finally:
        worker.end()
    assert "KEPT=yes" in seen
    assert [name for name in seen if "debug" in name] == []


def test_one_row_ends_with_its_json():
    done = run("--quick", "--json", "--rows", "calls_per_s_aio_64", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])
    assert set(row) == {"name", "ours", "rival", "unit", "ratio"}
    assert row["name"] == "calls_per_s_aio_64"
    assert row["ours"] > 0
    assert row["rival"] > 0


def test_an_unknown_row_is_refused_by_name():
    done = run("--rows", "unary_p50_sync,nope")
    assert done.returncode == 2
    assert "no row nope" in done.stderr


def test_peers_that_cannot_be_built_here_are_absent_and_say_why():
    done = run("--peers", "--quick", "--json", "--rows", "unary_p50_sync", "--rounds", "1", path="/nowhere")
    assert done.returncode == 0, done.stderr
    grpcio, *peers = json.loads(done.stdout.splitlines()[-1])
    assert grpcio["ratio"] > 0
    assert {peer["name"]: peer["absent"] for peer in peers} == {
        "unary_p50_sync_vs_grpc-go": "no 'go' on the PATH",
        "unary_p50_sync_vs_tonic": "no 'cargo' on the PATH",
        "unary_p50_sync_vs_raw": "no 'cargo' on the PATH",
    }
    assert "tonic is absent: no 'cargo' on the PATH" in done.stdout


def test_peers_are_refused_for_rows_that_they_have_no_shape_for():
    done = run("--peers", "--rows", "client_only_p50_sync")
    assert done.returncode == 2
    assert "--peers has nothing for these rows: client_only_p50_sync" in done.stderr


def test_a_profile_has_rows_of_its_own():
    done = run("--profile", "--rows", "unary_p50_sync")
    assert done.returncode == 2
    assert "--profile has rows of its own" in done.stderr


def test_a_profile_without_cargo_says_what_it_needs():
    done = run("--profile", "--quick", "--json", path="/nowhere")
    assert done.returncode == 1
    assert "--profile FAILED: no 'cargo' on the PATH" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []
