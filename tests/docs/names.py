"""What a source file of ours defines, in Python or Rust: for pages that name it."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import ROOT

_RUST = re.compile(r"\b(?:fn|struct|enum|trait|type|const|static|mod) (?:mut )?(\w+)")


def names_in(file: str) -> set[str]:
    """Functions, classes, methods and attributes with their class (``Class.name``), and what a module assigns."""
    text = (ROOT / file).read_text()
    if file.endswith(".rs"):
        return set(_RUST.findall(text))
    found: set[str] = set()
    _add(found, ast.parse(text).body, "")
    return found


def functions_in(file: str) -> set[str]:
    """Functions, and methods with their class."""
    text = (ROOT / file).read_text()
    if file.endswith(".rs"):
        return set(re.findall(r"\bfn (\w+)", text))
    found: set[str] = set()
    _add(found, ast.parse(text).body, "", functions_only=True)
    return found


def _add(found: set[str], body: list[ast.stmt], within: str, *, functions_only: bool = False) -> None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(f"{within}{node.name}")
        elif isinstance(node, ast.ClassDef):
            if not functions_only:
                found.add(f"{within}{node.name}")
            _add(found, node.body, f"{within}{node.name}.", functions_only=functions_only)
        elif isinstance(node, ast.If | ast.Try):
            _add(found, node.body, within, functions_only=functions_only)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not functions_only:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update(f"{within}{target.id}" for target in targets if isinstance(target, ast.Name))
