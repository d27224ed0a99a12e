#!/usr/bin/env python3
"""Rules of the house that no linter knows: tools/house.py names what breaks them, and ends with 1.

- A file has at most `MOST` lines. Where one grows past, a concept is missing.
- How a call ended is read from codes and origins, never from the words of a status: a peer chooses those.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
MOST = 500
# Longer than they should be; none may grow, and each that has shrunk leaves this table.
LONGER = {
    "native/drive/src/link.rs": 605,
}
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
    broken = [*sizes(), *status_texts()]
    sys.stdout.writelines(f"{line}\n" for line in broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
