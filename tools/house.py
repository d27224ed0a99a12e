#!/usr/bin/env python3
"""Rules of the house that no linter knows: tools/house.py names what breaks them, and ends with 1.

- A file has at most `MOST` lines. Where one grows past, a concept is missing.
- No module of a Rust crate uses another one that uses it, directly or by others; what both need has a place that both
  may see. (Python's modules are import-linter's. That a folder's own module uses what is in the folder is no circle.)
- How a call ended is read from codes and origins, never from the words of a status: a peer chooses those.
"""

from __future__ import annotations

import ast
import re  # noqa: TID251 - our own sources get matched, nothing from outside
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
MOST = 500
# Longer than they should be; none may grow, and each that has shrunk leaves this table.
LONGER: dict[str, int] = {}
OURS = ("rpc/", "xds_client/", "localmesh/", "proxyless/")
WORDS = {"details", "debug_error_string"}
OF_TEXTS = {"startswith", "endswith", "find", "index", "removeprefix", "removesuffix"}


def files(*endings: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - a developer's own git
    return [name for name in listed.stdout.splitlines() if name.endswith(endings)]


def sizes() -> Iterator[str]:
    for name in files(".py", ".rs"):
        lines = len((ROOT / name).read_text().splitlines())
        if lines > LONGER.get(name, MOST):
            yield f"{name} has {lines} lines; at most {LONGER.get(name, MOST)}"
        if name in LONGER and lines <= MOST:
            yield f"{name} has {lines} lines: it is no exception any more, take it out of tools/house.py"


# `crate::a::B`, `super::super::c`, and whole trees: `use crate::{a::B, c::{D, E}};`
RUST_PATH = re.compile(r"\b((?:super::)+|crate::)([\w:]*(?:\{[^;]*\}(?=;))?)")


def branches(tree: str) -> Iterator[str]:
    """``a::{B, c::D}``: ``a::B``, ``a::c::D``."""
    stem, brace, inner = tree.partition("{")
    if not brace:
        yield stem.strip()
        return
    depth, branch = 0, ""
    for sign in inner[:-1] + ",":
        depth += (sign == "{") - (sign == "}")
        if sign == "," and not depth:
            yield from (stem.strip() + rest for rest in branches(branch.strip()))
            branch = ""
        else:
            branch += sign


def used(module: str, text: str, modules: Mapping[str, str]) -> set[str]:
    """The other modules of its crate that one names, each as ``a::b``; the crate's root is the empty one."""
    found = set()
    for above, tree in RUST_PATH.findall(re.sub("//.*", "", text)):
        base = [] if above == "crate::" else module.split("::")[: -above.count("super")]
        for branch in branches(tree):
            path = base + [part for part in branch.split("::") if part]
            while path and "::".join(path) not in modules:
                path.pop()
            found.add("::".join(path))
    return found - {module}


def circle(start: str, uses: Mapping[str, set[str]]) -> list[str]:
    """The shortest way from a module back to itself, with it at both ends; empty: there is none."""
    came_from: dict[str, str] = {}
    nearest = [start]
    for module in nearest:
        for other in sorted(uses.get(module, ())):
            if other == start:
                way, at = [start], module
                while at != start:
                    way.insert(0, at)
                    at = came_from[at]
                return [start, *way]
            if other not in came_from:
                came_from[other] = module
                nearest.append(other)
    return []


def circles(modules: Mapping[str, str]) -> Iterator[str]:
    """Of a crate, whose modules' sources are given by their names."""
    uses = {module: used(module, text, modules) for module, text in modules.items()}
    told: set[str] = set()
    for module in sorted(uses):
        if module not in told and (way := circle(module, uses)):
            told.update(way)
            yield " -> ".join(way)


def crates() -> dict[str, dict[str, str]]:
    """By the folder of a crate: the sources of its modules, by their names."""
    found: dict[str, dict[str, str]] = {}
    for name in files(".rs"):
        crate, below, module = name.partition("/src/")
        if below:
            path = [part for part in module.removesuffix(".rs").split("/") if part not in {"mod", "lib", "main"}]
            found.setdefault(crate, {})["::".join(path)] = (ROOT / name).read_text()
    return found


def rust_circles() -> Iterator[str]:
    for crate, modules in crates().items():
        for way in circles(modules):
            yield f"{crate} has a circle: {way}; what they share belongs where both may see it"


def is_status_text(node: ast.expr) -> bool:
    """``outcome.details``, ``call.details()``, ``await call.details()``."""
    if isinstance(node, ast.Await):
        node = node.value
    if isinstance(node, ast.Call):
        node = node.func
    return isinstance(node, ast.Attribute) and node.attr in WORDS


def compares_status_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Compare):
        others = [node.left, *node.comparators]
        nothing = any(isinstance(one, ast.Constant) and one.value in (None, "") for one in others)
        return not nothing and any(is_status_text(one) for one in others)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in OF_TEXTS and is_status_text(node.func.value)
    return False


def status_texts() -> Iterator[str]:
    for name in files(".py"):
        if name.startswith(OURS):
            for node in ast.walk(ast.parse((ROOT / name).read_text())):
                if compares_status_text(node):
                    line = getattr(node, "lineno", 0)
                    yield f"{name}:{line} tells how a call ended by the words of its status; its code and origin say it"


def main() -> int:
    broken = [*sizes(), *rust_circles(), *status_texts()]
    sys.stdout.writelines(f"{line}\n" for line in broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
