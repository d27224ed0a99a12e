"""What the documents show, and what users write with the public API, type-checks with mypy and with pyright."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRONG = (
    'from proxyless import rpc\n\nrpc.insecure_channel("xds:///reviews.demo:9080").close(wrong=True)\nrpc.nothing()\n'
)
WRONG_LINES = {("wrong.py", 3), ("wrong.py", 4)}


def documents() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split()]


def blocks(document: Path) -> dict[str, str]:
    """Named after the document and the line of the block."""
    text = document.read_text()
    found = {}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: block.start()].count("\n") + 1
        name = "_".join(document.relative_to(ROOT).with_suffix("").parts).replace("-", "_")
        found[f"{name}_{line}.py"] = block[1]
    return found


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    shown = {name: text for document in documents() for name, text in blocks(document).items()}
    assert {name.rpartition("_")[0] for name in shown} >= {"README", "docs_identity"}
    typed = Path(__file__).with_name("typed_program.py").read_text()
    for name, text in {**shown, "typed_program.py": typed, "wrong.py": WRONG}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.timeout(300)
def test_mypy_takes_every_block_and_finds_what_is_wrong(programs: Path) -> None:
    cache = ["--cache-dir", ROOT / ".mypy_cache" / "documents"]
    flags = ["--config-file=", "--check-untyped-defs", "--follow-imports=silent", "--no-error-summary", *cache]
    files = sorted(file.name for file in programs.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *flags, *files],
        cwd=programs,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = re.findall(r"^(\w+\.py):(\d+): error: ", done.stdout, re.MULTILINE)
    assert {(file, int(line)) for file, line in errors} == WRONG_LINES, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_pyright_takes_every_block_and_finds_what_is_wrong(programs: Path) -> None:
    (programs / "pyrightconfig.json").write_text(json.dumps({"include": ["."], "extraPaths": [str(ROOT)]}))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(programs)],
        cwd=programs,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    errors = {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found if one["severity"] == "error"
    }
    assert errors == WRONG_LINES, json.dumps(found, indent=2)
