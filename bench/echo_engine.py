"""The engine with a second protocol in it (`native/echo`), built for tests beside the one that everybody has."""

from __future__ import annotations

import importlib.util
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@cache
def engine() -> Any:
    """Its module: another one than `rpc._native`, with reactors, links and locks of its own."""
    subprocess.run(["make", "--silent", ".build/stamps/echo"], cwd=ROOT, check=True)
    spec = importlib.util.spec_from_file_location("_native", ROOT / ".build/echo/_native.abi3.so")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
