#!/usr/bin/env python3
"""What we are made of: docs/supply-chain.md lists every locked package with its release date and licence.

tools/supply_chain.py check   offline: the list fits the locks, and what ships is licensed as we may ship it
tools/supply_chain.py write   asks cargo's index and (by uv) PyPI anew; --rustsec FOLDER: a clone of the advisories
"""

# ruff: noqa: S603, S607, TID251  # git, cargo, uv and patterns get what our own files say, nothing from outside

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
LIST = Path("docs", "supply-chain.md")
CRATES = Path("native", "Cargo.lock")
PYTHON = (
    ("image.lock", "default install"),
    ("image-build.lock", "image build"),
    ("dev.lock", "extras and development"),
)
ENGINE, TESTS = "engine", "tests and builds"
SHIPS = (ENGINE, PYTHON[0][1])
ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0"),
        *("PSF-2.0", "Unicode-3.0", "Unlicense", "Zlib"),
    }
)
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
WORDS = {"Apache License 2.0": "Apache-2.0", "3-Clause BSD License": "BSD-3-Clause", "Apache 2.0": "Apache-2.0"}
# advisories that hold for what we pin, and why they do not hold for us
ACCEPTED = {
    "RUSTSEC-2026-0009": "tests alone have it, and read no RFC 2822 dates; the patch needs a newer Rust than 1.85",
}
AFFECTED = re.compile(r"^\| (\S+) \| `([^`]+)` \| (\S+) \| \*\*affected\*\*: (.*) \|$", re.MULTILINE)
UNKNOWN = "unknown"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ADVISORIES = "## Advisories\n\n"
HEAD = "| package | version | released | licence | for |\n|---|---|---|---|---|\n"


@dataclass(frozen=True, order=True)
class Package:
    name: str
    version: str
    released: str = UNKNOWN
    licence: str = UNKNOWN
    purpose: str = ""

    def __str__(self) -> str:
        return f"| `{self.name}` | {self.version} | {self.released} | {self.licence} | {self.purpose} |"


def locked_crates(root: Path) -> set[tuple[str, str]]:
    packages = tomllib.loads((root / CRATES).read_text())["package"]
    return {(package["name"], package["version"]) for package in packages if "source" in package}


def locked_python(root: Path) -> dict[tuple[str, str], str]:
    """Name and version to what it is for: of several, the one nearest to users."""
    found: dict[tuple[str, str], str] = {}
    for lock, purpose in PYTHON:
        for pin in _pins(root, lock):
            found.setdefault(pin, purpose)
    return found


def _pins(root: Path, lock: str) -> list[tuple[str, str]]:
    return re.findall(r"^([\w.-]+)==([^\s;]+)", (root / "requirements" / lock).read_text(), re.MULTILINE)


def check(root: Path) -> Iterator[str]:
    """What is wrong with the list; reads files and nothing else."""
    listed = [Package(*(part.strip() for part in row)) for row in ROW.findall((root / LIST).read_text())]
    crates, packages = locked_crates(root), locked_python(root)
    is_crate = {ENGINE, TESTS}
    for kind, locked in (("crate", crates), ("Python package", packages.keys())):
        rows = [(one.name, one.version) for one in listed if (one.purpose in is_crate) == (kind == "crate")]
        for name, version in sorted(set(locked) - set(rows)):
            yield f"{kind} {name} {version} is locked and not listed"
        for name, version in sorted(set(rows) - set(locked)):
            yield f"{kind} {name} {version} is listed and not locked"
        if len(rows) != len(set(rows)):
            yield f"a {kind} is listed twice"
    for one in listed:
        if one.purpose in SHIPS and not may_ship(one.licence):
            yield f"{one.name} {one.version} ships under {one.licence}, which is none of {', '.join(sorted(ALLOWED))}"
        if one.purpose not in is_crate and one.purpose != packages.get((one.name, one.version), one.purpose):
            yield f"{one.name} {one.version} is for another purpose than it says ({one.purpose})"
        if one.released == UNKNOWN:
            yield f"nobody knows when {one.name} {one.version} was released"
    yield from _unexplained(root)


def _unexplained(root: Path) -> Iterator[str]:
    for advisory, name, version, reason in AFFECTED.findall((root / LIST).read_text()):
        if advisory not in ACCEPTED:
            yield f"{advisory} holds for {name} {version} ({reason}): renew it, or say in ACCEPTED why not"


def may_ship(licence: str) -> bool:
    """By an SPDX expression: all that must hold together is allowed, or one of what can be chosen."""
    parts = re.split(r"\s+AND\s+", licence.replace("/", " OR "))
    return all(any(word in ALLOWED for word in re.findall(r"[\w.-]+", part)) for part in parts)


def write(root: Path, rustsec: Path | None) -> None:
    crates, packages = sorted(_crates(root)), sorted(_packages(root))
    before = (root / LIST).read_text().partition(ADVISORIES)[2] if (root / LIST).exists() else "Not checked.\n"
    told = before if rustsec is None else "\n".join(_advisories(crates, rustsec)) + "\n"
    (root / LIST).write_text(
        f"""\
# Supply chain

Every package that `native/Cargo.lock` and `requirements/*.lock` pin, with the day of its release and its licence:
{len(crates)} crates and {len(packages)} Python packages on {datetime.now(UTC):%Y-%m-%d}.

`make lock` renews this file (`tools/supply_chain.py write`; with `--rustsec`, the advisories too). `make check`
verifies without a network that it fits the locks, that what ships (the engine, the default install) is licensed as
allowed there, and that each advisory that holds is explained. The Go modules and crates of `e2e/`, `bench/peers/` and
the interop tests are pinned by their own locks, run in tests only, and are not listed. Advisories for Python packages
are not here: the copy of their database that was at hand was older than these versions. `pip-audit` asks for them.

## Crates

{HEAD}{chr(10).join(map(str, crates))}

## Python packages

{HEAD}{chr(10).join(map(str, packages))}

{ADVISORIES}{told}"""
    )


def _crates(root: Path) -> Iterator[Package]:
    manifest = ["--manifest-path", str(root / "native" / "Cargo.toml")]
    subprocess.run(["cargo", "--quiet", "update", "--dry-run", *manifest], check=True)  # renews the index
    said = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", *manifest], check=True, capture_output=True
    )
    known = json.loads(said.stdout)
    licences = {(one["name"], one["version"]): one["license"] or UNKNOWN for one in known["packages"]}
    linked = _linked(known)
    for name, version in locked_crates(root):
        purpose = ENGINE if (name, version) in linked else TESTS
        licence = licences.get((name, version), UNKNOWN).replace("/", " OR ")
        yield Package(name, version, _crate_date(name, version), licence, purpose)


def _linked(known: dict[str, Any]) -> set[tuple[str, str]]:
    """What the engine is built from: all that its crates need other than for tests and build scripts."""
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    names = {one["id"]: (one["name"], one["version"]) for one in known["packages"]}
    reached, rest = set(), list(known["workspace_members"])
    while rest:
        current = rest.pop()
        if current not in reached:
            reached.add(current)
            needs = nodes[current]["deps"]
            rest += [need["pkg"] for need in needs if any(kind["kind"] is None for kind in need["dep_kinds"])]
    return {names[one] for one in reached}


def _crate_date(name: str, version: str) -> str:
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    place = f"{len(name)}" if len(name) < 3 else f"3/{name[0]}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}"  # noqa: PLR2004
    for file in home.glob(f"registry/index/*/.cache/{place}/{name}"):
        for entry in file.read_bytes().split(b"\0"):
            if entry.startswith(b"{") and (one := json.loads(entry))["vers"] == version and one.get("pubtime"):
                return one["pubtime"][:10] + (", yanked since" if one["yanked"] else "")
    return UNKNOWN


def _packages(root: Path) -> Iterator[Package]:
    dates: dict[tuple[str, str], str] = {}
    for lock, _ in PYTHON:
        dates |= _upload_dates(_pins(root, lock))
    for (name, version), purpose in locked_python(root).items():
        yield Package(name, version, dates.get((name, version), UNKNOWN), _licence(name, version), purpose)


def _upload_dates(pins: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """By uv, which writes into its lock when each file was uploaded."""
    needs = ", ".join(f'"{name} == {version}"' for name, version in pins)
    with tempfile.TemporaryDirectory() as folder:
        project = f'[project]\nname = "dates"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = [{needs}]\n'
        Path(folder, "pyproject.toml").write_text(project)
        command = ["uv", "lock", "--quiet", "--python", sys.executable, "--no-python-downloads", "--directory", folder]
        subprocess.run(command, check=True)
        locked = tomllib.loads(Path(folder, "uv.lock").read_text())["package"]
    found = {}
    for one in locked:
        files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else [])]
        if times := sorted(str(file["upload-time"])[:10] for file in files if "upload-time" in file):
            found[one["name"], one["version"]] = times[0]
    return found


def _licence(name: str, version: str) -> str:
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return f"{UNKNOWN} (not installed here)"
    if about["Version"] != version:
        return f"{UNKNOWN} ({about['Version']} is installed here)"
    if expression := about.get("License-Expression"):
        return expression
    said = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", ()) if line.startswith("License ::")]
    named = [CLASSIFIERS[line] for line in said if line in CLASSIFIERS]
    if named:
        return " OR ".join(named)
    words = (about.get("License") or "").strip().splitlines()
    return WORDS.get(words[0], words[0]) if words and len(words[0]) < 60 else (said[0] if said else UNKNOWN)  # noqa: PLR2004


def _advisories(crates: list[Package], rustsec: Path) -> Iterator[str]:
    """Those of RustSec that name one of our crates, and what they mean for the version that we pin."""
    made = subprocess.run(
        ["git", "-C", str(rustsec), "log", "-1", "--format=%cs %h"], check=True, capture_output=True, text=True
    ).stdout.split()
    yield f"[RustSec](https://rustsec.org)'s advisories, as they were on {made[0]} (commit `{made[1]}`):\n"
    yield "| advisory | crate | ours | it says |\n|---|---|---|---|"
    versions: dict[str, list[str]] = {}
    for one in crates:
        versions.setdefault(one.name, []).append(one.version)
    listed = subprocess.run(
        ["git", "-C", str(rustsec), "ls-tree", "-r", "--name-only", "HEAD", "crates"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    for path in listed:
        for version in versions.get(Path(path).parent.name, ()):
            text = subprocess.run(
                ["git", "-C", str(rustsec), "show", f"HEAD:{path}"], check=True, capture_output=True, text=True
            ).stdout
            about = tomllib.loads(text.partition("```toml")[2].partition("```")[0])
            advisory = about["advisory"]
            yield f"| {advisory['id']} | `{advisory['package']}` | {version} | {_standing(about, version)} |"


def _standing(about: dict[str, Any], version: str) -> str:
    if about["advisory"].get("withdrawn"):
        return "withdrawn"
    ranges = about.get("versions", {})
    for word in ("patched", "unaffected"):
        for requirement in ranges.get(word, ()):
            if _fits(version, requirement):
                return f"{word} ({requirement})"
    kind = about["advisory"].get("informational", "a vulnerability")
    reason = ACCEPTED.get(about["advisory"]["id"])
    return f"**affected**: {kind}" + (f"; accepted: {reason}" if reason else "")


def _fits(version: str, requirement: str) -> bool:
    """Cargo's comparisons, as far as RustSec writes them; what is not known fits nothing, so that it is looked at."""
    have = _numbers(version)
    for part in requirement.split(","):
        read = re.fullmatch(r"\s*(\^|~|>=|<=|>|<|=)?\s*([\d.]+(?:[-+]\S*)?)\s*", part)
        if read is None:
            return False
        sign, wanted = read.groups()
        want = _numbers(wanted)
        upper = {"^": _next(want, caret=True), None: _next(want, caret=True), "~": _next(want, caret=False)}.get(sign)
        fits = {">": have > want, "<": have < want, "<=": have <= want, "=": have == want}.get(sign, have >= want)
        if not fits or (upper is not None and have >= upper):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.split(r"[-+]", version)[0].split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _next(version: tuple[int, ...], *, caret: bool) -> tuple[int, ...]:
    place = next((index for index, number in enumerate(version) if number), 2) if caret else 1
    return (*version[:place], version[place] + 1, *(0,) * (2 - place))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check", "write"])
    parser.add_argument("--root", type=Path, default=ROOT, help="of the working tree")
    parser.add_argument("--rustsec", type=Path, help="a clone of RustSec's advisory-db, to write what it says")
    options = parser.parse_args()
    if options.command == "write":
        write(options.root, options.rustsec)
    wrong = list(check(options.root))
    for line in wrong:
        sys.stderr.write(f"{LIST}: {line}\n")
    if wrong:
        sys.stderr.write("Write the list anew: tools/supply_chain.py write\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
