"""The demo as users run it: it ends by itself, says what it saw, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-W", "error", "-X", "faulthandler", "-m", "examples.demo"]


@pytest.mark.timeout(90)
def test_all_that_it_expects_holds():
    done = subprocess.run([*COMMAND, "--seconds", "1.5"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    table = done.stdout.rpartition("What was expected, and what was seen:")[2].strip().splitlines()
    assert len(table) == 17
    assert all(row.endswith("  ok") for row in table[1:]), done.stdout
    (total,), (known,) = (re.findall(pattern, done.stdout) for pattern in (r"0 of (\d+) failed  ", r"on (\d+) calls  "))
    assert total == known, "both rows are about the same calls"


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_it_ends_cleanly_when_told_to(number, status, word):
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        said = []
        while "failed 0" not in (line := demo.stdout.readline()):
            said.append(line)
            assert line, f"no call, status {demo.wait()}:\n{''.join(said)}{demo.stderr.read()}"
        started = children(demo.pid)
        demo.send_signal(number)
        _, errors = demo.communicate()
    assert (demo.returncode, len(started)) == (status, 4)
    assert errors == f"\n{word}; everything that the demo had started has ended\n"
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
