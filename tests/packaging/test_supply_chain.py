"""The list of what we are made of fits the locks, and says so when it does not."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

LIST = "docs/supply-chain.md"
ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("supply_chain", ROOT / "tools" / "supply_chain.py")
supply_chain = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = supply_chain  # dataclasses look their module up
_spec.loader.exec_module(supply_chain)


@pytest.fixture
def tree(tmp_path):
    for name in (
        "native/Cargo.lock",
        "docs/supply-chain.md",
        *(f"requirements/{lock}" for lock, _ in supply_chain.PYTHON),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(tree, name, before, after):
    text = (tree / name).read_text()
    assert before in text
    (tree / name).write_text(text.replace(before, after, 1))


def test_the_list_fits_the_locks():
    assert list(supply_chain.check(ROOT)) == []


CHANGES = {
    "a crate renewed": ("native/Cargo.lock", 'name = "bytes"\nversion = "', 'name = "bytes"\nversion = "9', "bytes 91"),
    "a package renewed": ("requirements/dev.lock", "\npyyaml==", "\npyyaml==9", "pyyaml 96"),
    "a package new to users": ("requirements/image.lock", "grpcio==", "yarl==1\ngrpcio==", "yarl 1 is locked and not"),
    "a row without a date": (LIST, "| 2025-06-09 |", "| unknown |", "nobody knows when adler2"),
    "a licence of another kind": (LIST, "| 0BSD OR MIT OR Apache-2.0 |", "| GPL-3.0 |", "GPL-3.0"),
    "a row twice": (LIST, "| `bytes` |", "| `adler2` | 2.0.1 | 1 | MIT | engine |\n| `bytes` |", "twice"),
    "an advisory": (LIST, "patched (>= 1.11.1)", "**affected**: a vulnerability", "RUSTSEC-2026-0007"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "before", "after", "said"), CHANGES.values(), ids=CHANGES.keys())
def test_what_does_not_fit_is_named(tree, name, before, after, said):
    assert list(supply_chain.check(tree)) == []
    change(tree, name, before, after)
    assert any(said in line for line in supply_chain.check(tree))


@pytest.mark.parametrize(
    ("version", "requirement", "fits"),
    [
        ("1.2.3", ">= 1.2.3", True), ("1.2.3", "> 1.2.3", False), ("0.3.45", ">= 0.3.47", False),
        ("1.9.0", "^1.2", True), ("2.0.0", "^1.2", False), ("0.3.9", "^0.3.5", True), ("0.4.0", "^0.3.5", False),
        ("0.0.3", "^0.0.2", False), ("1.2.9", "~1.2.3", True), ("1.3.0", "~1.2.3", False), ("1.0.0", "1", True),
        ("0.103.16", ">= 0.103.12, < 0.104.0-alpha.1", True), ("0.104.0", ">= 0.103.12, < 0.104.0-alpha.1", False),
        ("1.0.0", "= 1.0.0", True), ("1.0.1", "<= 1.0.0", False), ("1.0.0", "*", False),
    ],
)  # fmt: skip
def test_versions_are_compared_as_cargo_does(version, requirement, fits):
    assert supply_chain._fits(version, requirement) is fits


@pytest.mark.parametrize(
    ("licence", "may"),
    [
        ("MIT", True), ("GPL-3.0", False), ("MIT OR GPL-3.0", True), ("MIT AND GPL-3.0", False),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True), ("Apache-2.0 AND ISC AND MIT", True), ("unknown", False),
    ],
)  # fmt: skip
def test_what_ships_is_licensed_as_allowed(licence, may):
    assert supply_chain.may_ship(licence) is may
