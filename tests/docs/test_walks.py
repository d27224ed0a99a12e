"""The stations of the architecture's walks are there: each names a file and a function of it."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT

MOST = 12
PAGE = (ROOT / "docs" / "architecture.md").read_text()
[SECTION] = re.findall(r"^## Walks\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
WALKS = dict(re.findall(r"^### ([^\n]*)\n(.*?)(?=^### |\Z)", SECTION, re.MULTILINE | re.DOTALL))
STATION = re.compile(r"^(\d+)\. (.*)", re.MULTILINE)
NAMED = re.compile(r"`([\w./-]+\.(?:py|rs))` `([\w.]+)`: ")


def names(file: str) -> set[str]:
    """Functions, and methods with their class."""
    text = (ROOT / file).read_text()
    if file.endswith(".rs"):
        return set(re.findall(r"\bfn (\w+)", text))
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            methods = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


def test_there_are_walks() -> None:
    assert len(WALKS) >= 5
    assert sum(len(STATION.findall(text)) for text in WALKS.values()) == len(STATION.findall(SECTION))


@pytest.mark.parametrize("walk", WALKS)
def test_each_station_is_a_function_that_is_there(walk: str) -> None:
    stations = STATION.findall(WALKS[walk])
    assert [int(number) for number, _ in stations] == [*range(1, len(stations) + 1)]
    assert 0 < len(stations) <= MOST
    for _, said in stations:
        named = NAMED.match(said)
        assert named, said
        file, name = named.groups()
        assert name in names(file), f"{file} has no {name}"
