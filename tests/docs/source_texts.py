"""Texts that our programs can say, taken from their source: what is filled in later is `…`."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = ("xds_client", "rpc", "proxyless", "localmesh")
_PERCENT = re.compile(r"%[-+0-9.]*[sdrfgx]")
_RUST_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


def rust_files() -> list[Path]:
    """Ours: below native/target others come and go while tests run."""
    native = ROOT / "native"
    return sorted([*native.glob("src/**/*.rs"), *native.glob("*/src/**/*.rs")])


def texts() -> Iterator[str]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield from _of_python(ast.parse(file.read_text()))
    for file in rust_files():
        for text in _RUST_TEXT.findall(file.read_text()):
            yield re.sub(r"\{[^{}]*\}", "…", text)


def _of_python(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _PERCENT.sub("…", node.value)
