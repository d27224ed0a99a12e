"""The command itself: its help, and the extras that may be missing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["resolve", "status", "localmesh"])
def test_help_has_examples(run, command):
    assert command in run("--help")[1]
    status, out, _ = run(command, "--help")
    assert status == 0
    assert re.search(rf"Examples?\s+proxyless {command}", out)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_one_line_says_what_to_install(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from proxyless.__main__ import main; main()"
    done = python(code, "status")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"the command line needs {missing}: pip install 'proxyless[cli]'\n"


def test_another_missing_module_is_a_bug_and_shown_as_such():
    done = python("import sys; sys.modules['xds_client'] = None; from proxyless.__main__ import main; main()")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr


def test_localmesh_without_its_extra():
    code = "import sys; sys.modules['yaml'] = None; from proxyless.__main__ import main; main()"
    done = python(code, "localmesh", ".")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the embedded control plane needs yaml: pip install 'proxyless[localmesh]'\n"


def test_localmesh_serves_until_it_is_told_to_end(folder):
    command = [sys.executable, "-W", "error", "-m", "proxyless", "localmesh", str(folder), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
        finally:
            process.terminate()
        _, errors = process.communicate()
    assert said.startswith(f"serving {folder} on 127.0.0.1:")
    assert (process.returncode, errors) == (0, "")


def test_localmesh_says_what_is_wrong_with_a_folder(tmp_path):
    done = python("from proxyless.__main__ import main; main()", "localmesh", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "cannot be served" in done.stderr
