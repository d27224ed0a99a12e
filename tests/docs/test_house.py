"""tools/house.py finds what it is there to find."""

from __future__ import annotations

import ast

import pytest

from tools import house


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("outcome.details == 'Locally cancelled by application!'", True),
        ("'cancelled' in call.details()", True),
        ("error.debug_error_string().startswith('UNKNOWN')", True),
        ("outcome.details is None", False),
        ("outcome.details == ''", False),
        ("outcome.code == 1", False),
        ("text.startswith('a')", False),
    ],
)
def test_words_of_a_status_that_are_compared_are_found(line, found):
    assert any(house.compares_status_text(node) for node in ast.walk(ast.parse(line))) is found


def test_the_rules_hold():
    assert [*house.sizes(), *house.status_texts()] == []
