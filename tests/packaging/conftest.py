from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.running import ROOT, run


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(Path(sys.executable).with_name("maturin"), "build", "--release", "--locked", "--out", folder, cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built
