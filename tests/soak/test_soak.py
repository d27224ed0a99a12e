"""Bad weather for a while, in a process of its own; then nothing is left over, and no call came to what it must not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLACK = 120  # seconds for a slow machine, calls that wait for their deadline included

# What may be more in the end than after the second round, when pools and caches are full.
ALLOWED = {"fds": 6, "threads": 1, "tasks": 0, "objects": 200, "rss": 12 << 20}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["sync", "sync --tls", "aio", "uvloop --tls"])
def test_nothing_is_left_after_bad_weather(mode, request):
    seconds = request.config.getoption("soak_seconds")
    command = [sys.executable, "-m", "tests.soak", "--seconds", str(seconds), "--mode", *mode.split()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SLACK, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    rounds = [json.loads(line) for line in ran.stdout.splitlines()]
    first, last = rounds[1], rounds[-1]
    grown = {what: last[what] - first[what] for what in ALLOWED}
    assert all(grown[what] <= most for what, most in ALLOWED.items()), (grown, rounds)
    assert {"OK", "CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"} <= last["codes"].keys(), "the weather was too good"
