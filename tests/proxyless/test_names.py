"""Everything public has a second name under `proxyless`: the same objects, one root of loggers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]

SECOND_FIRST = """
import sys
import proxyless.rpc.aio, proxyless.xds.model, proxyless.localmesh, proxyless.rpc.security.peer
import rpc, rpc.aio, rpc.security.peer, xds_client, xds_client.model, localmesh
assert proxyless.rpc is rpc and proxyless.rpc.aio is rpc.aio
assert proxyless.xds is xds_client and proxyless.xds.model is xds_client.model
assert proxyless.localmesh is localmesh
assert sys.modules["proxyless.rpc.security.peer"] is rpc.security.peer
"""

FIRST_FIRST = """
import rpc, rpc.aio, xds_client, localmesh
from proxyless import localmesh as second_localmesh, rpc as second_rpc, xds as second_xds
from proxyless.rpc.aio import insecure_channel
from proxyless.rpc.channelz import add_channelz_servicer
from proxyless.xds.identity import Identity
assert (second_rpc, second_xds, second_localmesh) == (rpc, xds_client, localmesh)
assert insecure_channel is rpc.aio.insecure_channel and Identity is xds_client.Identity
assert add_channelz_servicer is rpc.channelz.add_channelz_servicer
assert (rpc.__name__, rpc.__spec__.name, rpc.aio.__spec__.name) == ("rpc", "rpc", "rpc.aio")
"""

LOGGERS = """
import importlib, logging, pkgutil
import localmesh, rpc, xds_client
for package in (localmesh, rpc, xds_client):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
ours = {name for name in logging.root.manager.loggerDict if name.split(".")[0] in {"rpc", "xds_client", "localmesh"}}
assert not ours, ours
roots = {name for name in logging.root.manager.loggerDict if name.count(".") == 1 and name.startswith("proxyless.")}
assert roots == {"proxyless.localmesh", "proxyless.rpc", "proxyless.xds_client"}, roots
"""


def python(*arguments: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("program", [SECOND_FIRST, FIRST_FIRST, LOGGERS], ids=["second", "first", "loggers"])
def test_one_object_has_two_names_whichever_is_imported_first_and_one_root_of_loggers(program: str) -> None:
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


def test_a_module_that_is_not_there_is_missing_by_the_name_that_was_asked_for() -> None:
    done = python("-c", "import proxyless.rpc.nothing")
    assert "ModuleNotFoundError: No module named 'proxyless.rpc.nothing'" in done.stderr


def test_a_second_name_runs_as_a_program() -> None:
    done = python("-m", "proxyless.localmesh", "--help")
    assert done.returncode == 0, done.stderr
    assert "HOST:PORT" in done.stdout


def test_a_program_with_an_rpc_of_its_own_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "rpc").mkdir()
    (tmp_path / "rpc" / "__init__.py").write_text("")
    done = python("-c", "import proxyless.rpc", cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: proxyless.rpc is also named rpc")
    assert str(tmp_path / "rpc" / "__init__.py") in last
