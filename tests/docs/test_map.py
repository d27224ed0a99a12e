"""The map of the tests, `tests/README.md`, names every folder that has tests, and no other."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_the_map_has_every_folder_with_tests_and_no_other():
    on_the_map = re.findall(r"^\| `([\w/]+)` \|", (TESTS / "README.md").read_text(), re.MULTILINE)
    folders = sorted({file.parent.relative_to(TESTS).as_posix() for file in TESTS.rglob("test_*.py")})
    assert on_the_map == folders
