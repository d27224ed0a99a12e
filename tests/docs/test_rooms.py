"""The table of the rooms of `rpc` in the architecture is what the sources import, type imports included."""

from __future__ import annotations

import ast

from tests.docs.pages import ROOT, names, rows, section

TABLE = rows(section(ROOT / "docs" / "architecture.md", "Inside `rpc`"), "room of `rpc`")
ROOM_OF = {module: names(room)[0] for room, modules, *_ in TABLE for module in names(modules)}
FILES = sorted((ROOT / "rpc").rglob("*.py"))


def module_of(name: str) -> str:
    """The module or folder in `rpc` that a dotted name belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(text: str) -> set[str]:
    """Modules and folders of `rpc`."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {module_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "rpc"}
        elif isinstance(node, ast.ImportFrom) and node.module == "rpc":
            found |= {alias.name if alias.name in ROOM_OF else "__init__" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rpc."):
            found.add(module_of(node.module))
    return found


def test_each_module_has_a_room() -> None:
    modules = {file.relative_to(ROOT / "rpc").parts[0].removesuffix(".py") for file in FILES}
    assert set(ROOM_OF) == modules
    assert sum(len(names(modules)) for _, modules, *_ in TABLE) == len(ROOM_OF)


def test_each_room_imports_what_the_table_says_and_nothing_above_it() -> None:
    found: dict[str, set[str]] = {names(room)[0]: set() for room, *_ in TABLE}
    for file in FILES:
        room = ROOM_OF[file.relative_to(ROOT / "rpc").parts[0].removesuffix(".py")]
        found[room] |= {ROOM_OF[module] for module in imported(file.read_text())} - {room, "ground"}
    order = list(found)
    for room, _, now, _ in TABLE:
        name = names(room)[0]
        assert sorted(now.split()) == sorted(found[name]), name
        assert all(order.index(other) > order.index(name) for other in found[name]), name
