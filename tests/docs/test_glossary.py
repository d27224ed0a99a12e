"""What the glossary names is there, and each concept has one entry."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.docs.names import names_in
from tests.docs.pages import ROOT, rows

PAGE = (ROOT / "docs" / "glossary.md").read_text()
SECTIONS = [text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE) if "| concept |" in text]
ENTRIES = [row for text in SECTIONS for row in rows(text, "concept")]
PLACE = r"`([\w./-]+\.(?:rs|pyi?))` `([\w.]+)`"


def test_each_concept_has_one_entry() -> None:
    concepts = Counter(concept for row in ENTRIES for concept in row[0].split(", "))
    assert [concept for concept, count in concepts.items() if count > 1] == []
    assert len(concepts) > 50


@pytest.mark.parametrize("row", ENTRIES, ids=lambda row: row[0])
def test_an_entry_says_what_it_is_and_where(row: list[str]) -> None:
    concept, meaning, where, _ = row
    assert concept
    assert meaning.endswith(".")
    assert re.fullmatch(rf"{PLACE}(, {PLACE})*", where), where
    for file, name in re.findall(PLACE, where):
        assert name in names_in(file), f"{file} has no {name}"
