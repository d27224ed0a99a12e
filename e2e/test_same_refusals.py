"""A policy that istiod refuses is refused by localmesh, and no other: each started on every row of a table."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from e2e.mesh import ISTIOD
from tests.localmesh.policy_refusals import AUTHENTICATION, AUTHORIZATION, Row, called, document

if TYPE_CHECKING:
    from pathlib import Path

_AT_A_TIME = 3  # each takes a second to start
_PARTS = 4
_MESH = "trustDomain: cluster.local\nrootNamespace: istio-system\n"
ROWS = [*AUTHORIZATION, *AUTHENTICATION]
REFUSED, TAKEN = [row for row in ROWS if row.reason], [row for row in ROWS if not row.reason]
pytestmark = pytest.mark.skipif(
    not ISTIOD.exists(), reason=f"the real istiod is not built: run e2e/controlplane/build, which makes {ISTIOD}"
)


def refusal(folder: Path, *rows: Row) -> str:
    """What istiod has said when it ended; empty if it starts."""
    config = folder / "config"
    config.mkdir(parents=True)
    for number, row in enumerate(rows):
        (config / f"{number}.yaml").write_text(document(row).replace("name: x,", f"name: x{number},"))
    (folder / "mesh.yaml").write_text(_MESH)
    command = [str(ISTIOD), "--config", str(config), "--mesh", str(folder / "mesh.yaml")]
    for flag in ("--grpc", "--secure-grpc", "--http", "--https", "--monitoring"):
        command += [flag, "127.0.0.1:0"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        started = process.stdout.readline().startswith("ready")
        process.terminate()
    return "" if started else (folder / "log").read_text()


@pytest.mark.parametrize("part", range(_PARTS))
def test_istiod_refuses_what_localmesh_refuses(tmp_path: Path, part: int) -> None:
    rows = REFUSED[part::_PARTS]
    folders = (tmp_path / str(number) for number in range(len(rows)))
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        said = list(threads.map(refusal, folders, rows))
    because = ("configuration is invalid", "cannot parse proto message")
    taken = [called(row) for row, one in zip(rows, said, strict=True) if not any(words in one for words in because)]
    assert taken == []


def test_istiod_takes_what_localmesh_takes(tmp_path: Path) -> None:
    assert refusal(tmp_path, *TAKEN) == ""
