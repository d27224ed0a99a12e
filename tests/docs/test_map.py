"""The map of the tests, `tests/README.md`, names every folder that has tests, and CI runs them all."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


def recipe(target):
    """What ``make TARGET`` would run."""
    return subprocess.run(["make", "--dry-run", target], capture_output=True, text=True, cwd=ROOT, check=True).stdout


def test_the_map_has_every_folder_with_tests_and_no_other():
    on_the_map = re.findall(r"^\| `([\w/]+)` \|", (TESTS / "README.md").read_text(), re.MULTILINE)
    folders = sorted({file.parent.relative_to(TESTS).as_posix() for file in TESTS.rglob("test_*.py")})
    assert on_the_map == folders


def test_what_make_test_leaves_out_is_run_by_another_target_of_ci():
    left_out = set(re.findall(r"--ignore=(\S+)", recipe("test")))
    targets = re.findall(r"^stage (\S+)", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    others = [recipe(target) for target in targets if target not in {"test", "setup"}]
    run = {path for commands in others for line in re.findall(r"-m pytest (.*)", commands) for path in line.split()}
    assert left_out
    assert left_out <= run
    assert all((ROOT / path).exists() for path in left_out)


def test_the_files_that_begin_first_are_there():
    assert [name for name in LONGEST if not (TESTS / name).is_file()] == []
