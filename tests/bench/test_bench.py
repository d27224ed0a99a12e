"""The measurements themselves: orientation of the ratios, and one real row through the command line."""

import json
import subprocess
import sys

import pytest

from bench.rounds import Result
from bench.rows import ROWS

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


def run(*arguments):
    command = [sys.executable, "-m", "bench", "rpc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


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
