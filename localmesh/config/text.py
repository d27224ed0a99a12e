"""The YAML documents of a folder, as nodes. Whatever a folder or a file holds costs a sentence, and bounded work.

Text becomes nodes one document at a time. The bounds: files, bytes, depth, nodes, and how often aliases repeat.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from localmesh.errors import Problem
from localmesh.files import FileError, advice, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from yaml import SafeLoader as _SafeLoader
elif yaml.__with_libyaml__:
    from yaml import CSafeLoader as _SafeLoader  # ten times faster
else:
    from yaml import SafeLoader as _SafeLoader

MAX_ENTRIES = 200_000  # of a folder and its subfolders, of whatever kind: more is a folder that nobody meant
MAX_FILE = 32 * 1024 * 1024
MAX_DEPTH = 64  # Istio's own resources need some fifteen
MAX_NODES = 1_000_000  # of one document
MAX_REPEATED = 100_000  # nodes that aliases add to those that are written

_SUFFIXES = (".yaml", ".yml")
_RESOLVER = yaml.resolver.Resolver()  # as every safe loader is one


class NotYaml(Exception):  # noqa: N818  # control flow inside this package: it ends up as a Problem
    """The text cannot be read on; ``line`` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


@dataclass(slots=True)
class Listing:
    """The YAML files of a folder in the order of their paths, and what stood in the way of listing them."""

    files: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def yaml_files(folder: Path) -> Listing:
    """Those of a folder, or the one file that is named instead.

    What is hidden (its name begins with a dot) is left out: editors' drafts, and a ConfigMap's inner folders.
    """
    found = Listing()

    def report(error: OSError) -> None:
        # a folder that nobody may read is not an empty one: what it held stays until it can be read again
        if not isinstance(error, FileNotFoundError) or Path(error.filename or "") == folder:
            found.problems.append(Problem(str(error.filename or folder), 0, f"cannot be read: {advice(error)}"))

    if not folder.is_dir():
        if folder.exists():
            found.files.append(folder)
        else:
            reason = "is not a folder or file of Istio YAML: name one that is there"
            found.problems.append(Problem(str(folder), 0, reason))
        return found
    entries = 0
    for place, folders, names in os.walk(folder, onerror=report):
        entries += len(folders) + len(names)
        if entries > MAX_ENTRIES:
            reason = f"has more than {MAX_ENTRIES} files and folders in it: is it the folder that you mean?"
            found.problems.append(Problem(str(folder), 0, reason))
            break
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.files += [Path(place, name) for name in names if not name.startswith(".") and name.endswith(_SUFFIXES)]
    found.files.sort()
    return found


def read_text(path: Path) -> str:
    """Raises `NotYaml`; a file that has just gone is an empty one."""
    try:
        return read_file(path, MAX_FILE).decode("utf-8")
    except FileError as error:
        raise NotYaml(1, error.reason) from None
    except FileNotFoundError:
        if path.is_symlink():
            raise NotYaml(1, "is a symbolic link to nothing: remove it, or mend it") from None
        return ""
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise NotYaml(line, f"cannot be read: it is not UTF-8 ({error.reason}): save it as UTF-8") from None


def documents(text: str) -> Iterator[yaml.Node]:
    """The documents that are not empty; raises `NotYaml` where the text cannot be read on."""
    loader = _Loader(text)
    has_aliases = "&" in text and "*" in text
    try:
        while loader.check_node():
            loader.begin_document()
            node = loader.get_node()
            if node is None:
                continue
            if has_aliases:
                _check_repetition(node, loader.nodes())
            yield node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise NotYaml(mark.line + 1 if mark else 1, f"is not YAML: {reason}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise NotYaml(line, f"is not YAML: {error.reason}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: numbers in a directive or an escape that are none
        raise NotYaml(1, f"is not YAML: {error}") from None
    finally:
        loader.dispose()


class _Loader(_SafeLoader):
    """Both of PyYAML's composers announce each node before they look into it: there the text is given up in time. Both
    ask for the tag of each scalar, too, and those of a mesh are few, written again and again.

    They do so millions of times for a big folder: what they call are closures, which cost half of what methods do.
    """

    nodes: Callable[[], int]  # of this document, so far
    begin_document: Callable[[], None]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._count_nodes()
        self._remember_tags()

    def _count_nodes(self) -> None:
        nodes = depth = 0

        def begin_document() -> None:
            nonlocal nodes, depth
            nodes = depth = 0

        def descend(parent: yaml.Node | None, _index: Any) -> None:
            nonlocal nodes, depth
            nodes += 1
            depth += 1
            if depth > MAX_DEPTH or nodes > MAX_NODES:
                raise _too_much(depth, parent.start_mark.line + 1 if parent is not None else 1)

        def ascend() -> None:
            nonlocal depth
            depth -= 1

        self.nodes, self.begin_document = lambda: nodes, begin_document
        self.descend_resolver = descend  # type: ignore[method-assign,assignment]  # other names of its arguments
        self.ascend_resolver = ascend  # type: ignore[method-assign]  # as it is meant

    def _remember_tags(self) -> None:
        scalar, find = yaml.ScalarNode, _RESOLVER.resolve  # not its own, with which it would hold itself
        tags: dict[str, str] = {}  # of plain scalars, in this text

        def resolve(kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
            if kind is not scalar or not implicit[0]:
                return find(kind, value, implicit)  # type: ignore[no-any-return,no-untyped-call]  # in the stubs
            if value not in tags:
                tags[value] = find(kind, value, implicit)  # type: ignore[no-untyped-call]  # in the stubs
            return tags[value]

        self.resolve = resolve  # type: ignore[method-assign]  # as it is meant


def _too_much(depth: int, line: int) -> NotYaml:
    if depth > MAX_DEPTH:
        return NotYaml(line, f"is nested more than {MAX_DEPTH} deep here: nothing of Istio's is, take it out")
    return NotYaml(line, f"has more than {MAX_NODES} values in one document: split it into several (---)")


def _check_repetition(root: yaml.Node, written: int) -> None:
    """An alias stands for all that its anchor holds: a few lines can say millions of values, or one without an end."""
    sizes: dict[int, int] = {}
    unfinished: set[int] = set()

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        key = id(node)
        if key in unfinished:
            raise NotYaml(node.start_mark.line + 1, "an alias in here stands for what it is in: take it out")
        if key not in sizes:
            unfinished.add(key)
            pairs = isinstance(node, yaml.MappingNode)
            children = (part for pair in node.value for part in pair) if pairs else node.value
            sizes[key] = 1 + sum(map(size, children))
            unfinished.remove(key)
        return sizes[key]

    if size(root) - written > MAX_REPEATED:
        line = root.start_mark.line + 1
        raise NotYaml(line, f"its aliases repeat more than {MAX_REPEATED} values: write fewer of them")
