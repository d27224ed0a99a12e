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


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ({"a": "use crate::b::B;", "b": "use crate::a::{self, A};"}, ["a -> b -> a"]),
        ({"a": "use crate::{b::B, c::{C, D}};", "b": "", "c": "fn c() { super::a::go() }"}, ["a -> c -> a"]),
        ({"a": "use crate::b::B;", "b": "use crate::c::C;", "c": "use crate::a::A;"}, ["a -> b -> c -> a"]),
        ({"py": "", "py::a": "use super::b::B;", "py::b": "use super::super::py::a::A;"}, ["py::a -> py::b -> py::a"]),
        (
            {"a": "use crate::b::B;\n#[cfg(test)]\nmod tests { use super::*; }", "b": "use crate::a::A;"},
            ["a -> b -> a"],
        ),
        ({"a": "use crate::b::{B, C};", "b": "// as crate::a::A has it\nuse other::a::A;"}, []),
        ({"": "mod a;", "a": "use crate::provider;", "b": "use crate::a::A;"}, []),
    ],
)
def test_circles_among_the_modules_of_a_crate_are_found(modules, found):
    assert [*house.circles(modules)] == found


def test_modules_have_the_names_that_rust_gives_them():
    engine = house.crates()["native"]
    assert {"", "py", "py::client", "memory"} <= set(engine)
    assert "py::commands" in house.used("py::client", engine["py::client"], engine)


def test_the_rules_hold():
    assert [*house.sizes(), *house.rust_circles(), *house.status_texts()] == []
