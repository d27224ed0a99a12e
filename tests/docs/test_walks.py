"""The stations of the architecture's walks are there: each names a file and a function of it."""

from __future__ import annotations

import re

import pytest

from tests.docs.names import functions_in
from tests.docs.pages import ROOT

MOST = 12
PAGE = (ROOT / "docs" / "architecture.md").read_text()
[SECTION] = re.findall(r"^## Walks\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
WALKS = dict(re.findall(r"^### ([^\n]*)\n(.*?)(?=^### |\Z)", SECTION, re.MULTILINE | re.DOTALL))
STATION = re.compile(r"^(\d+)\. (.*)", re.MULTILINE)
NAMED = re.compile(r"`([\w./-]+\.(?:py|rs))` `([\w.]+)`: ")


def test_there_are_walks() -> None:
    assert len(WALKS) >= 10
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
        assert name in functions_in(file), f"{file} has no {name}"
