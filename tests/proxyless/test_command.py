"""The command itself: its help, and the extras that may be missing."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from importlib.metadata import version

import pytest

from localmesh import LocalMesh
from xds_client import Bootstrap, PilotExchanger


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", ["resolve", "status", "localmesh"])
def test_help_has_examples(run, command):
    assert command in run("--help")[1]
    status, out, _ = run(command, "--help")
    assert status == 0
    assert re.search(rf"Examples?:\s+proxyless {command}", out)


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


@contextmanager
def served(folder, *options):
    """The address of the command's mesh."""
    command = [sys.executable, "-m", "proxyless", "localmesh", str(folder), "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout:
                if line.startswith("serving"):
                    yield line.split()[-1]
                    break
        finally:
            process.terminate()


@pytest.mark.parametrize(("option", "protected"), [("--auto-mtls", 1), ("--no-auto-mtls", 0)])
def test_auto_mtls_is_a_flag(run, folder, option, protected):
    with served(folder, option) as address:
        said = run("resolve", "reviews.demo:9080", "--json", "--discovery-address", address)[1]
    endpoints = [
        endpoint
        for cluster in json.loads(said)["clusters"]
        for locality in cluster["endpoints"]["localities"]
        for endpoint in locality["endpoints"]
    ]
    assert endpoints
    assert len({endpoint["address"] for endpoint in endpoints if endpoint["tls"]}) == protected


def exported(said):
    """What a shell has after ``eval``."""
    command = ["bash", "-c", 'eval "$1"; env -0 | grep -z ^PROXYLESS_', "-", said]
    done = subprocess.run(command, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin"})
    return dict(line.split("=", 1) for line in done.stdout.decode().strip("\0").split("\0"))


def test_env_is_what_a_workload_exports(run, mesh):
    status, said, _ = run("localmesh", "env", "--namespace", "demo", "--discovery-address", mesh.address)
    assert status == 0
    assert exported(said) == mesh.environment("demo")
    assert Bootstrap.load(exported(said)).discovery_address == mesh.address


def test_env_of_a_workload_with_an_identity_has_its_token_in_a_file(run, folder, tmp_path):
    ca = tmp_path / "a folder of an authority"
    with LocalMesh(folder, ca=ca) as mesh:
        where = ["--ca", str(ca), "--discovery-address", mesh.secure_address]
        status, said, _ = run("localmesh", "env", "--namespace", "demo", "--service-account", "web", *where)
        assert status == 0
        with PilotExchanger(Bootstrap.load(exported(said))) as exchanger:
            assert exchanger.identity.wait(30).spiffe_id == "spiffe://cluster.local/ns/demo/sa/web"


def test_env_of_a_workload_without_an_identity_leaves_nothing_of_another_ones(run, folder, tmp_path):
    ca = tmp_path / "ca"
    with LocalMesh(folder, ca=ca) as mesh:
        before = run("localmesh", "env", "--namespace", "demo", "--ca", str(ca))[1]
        said = run("localmesh", "env", "--namespace", "demo", "--discovery-address", mesh.address)[1]
        assert exported(before + said) == mesh.environment("demo")


def test_env_without_an_authority_says_so(run, tmp_path):
    status, said, why = run("localmesh", "env", "--namespace", "demo", "--ca", str(tmp_path))
    assert (status, said) == (1, "")
    assert "holds no certificate authority" in why


def test_env_of_what_can_be_no_namespace_says_so(run):
    assert run("localmesh", "env", "--namespace", "$(reboot)")[0] == 1


PROGRAM = "from proxyless.__main__ import main; main()"


def test_the_version_is_printed():
    done = python(PROGRAM, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"proxyless {version('proxyless')}\n", "")


@pytest.mark.parametrize("command", [[], ["resolve"], ["status"], ["localmesh"], ["localmesh", "serve"]])
@pytest.mark.parametrize("columns", [60, 120])
def test_help_is_as_wide_as_the_terminal_and_nothing_in_it_is_cut(monkeypatch, columns, command):
    monkeypatch.setenv("COLUMNS", str(columns))
    said = python(PROGRAM, *command, "--help").stdout
    options = said[: said.find("Example")].splitlines()
    assert columns / 2 < max(map(len, options)) <= columns
    assert "…" not in said
    assert not re.search(r"\w\.\.\.$", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["reslove"], "Did you mean 'resolve'?"),
        (["resolve", "x:1", "--watsh"], "--watch"),
        (["localmesh", "tokn"], "Did you mean 'token'?"),
        (["localmesh", "folder", "--listn", "x"], "--listen"),
    ],
)
def test_who_mistypes_is_told_what_is_nearest(arguments, meant):
    done = python(PROGRAM, *arguments)
    assert done.returncode == 2
    assert meant in done.stderr


@pytest.mark.parametrize(("mistyped", "meant"), [("tokn", "'token'"), ("--listn", "--listen"), ("emv", "'env'")])
def test_so_is_who_has_no_command_line_extra(mistyped, meant):
    arguments = ["folder", mistyped] if mistyped.startswith("-") else [mistyped]
    done = python("from localmesh.__main__ import main; main()", *arguments)
    assert done.returncode == 2
    assert f"did you mean {meant}?" in done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("proxyless re", "resolve"),
        ("proxyless localmesh to", "token"),
        ("proxyless localmesh x/ --sec", "--secure-listen"),
    ],
)
def test_a_shell_completes(words, offered):
    asked = {"_PROXYLESS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-m", "proxyless"], capture_output=True, text=True, check=False, env={**os.environ, **asked}
    )
    assert offered in done.stdout.split()


@pytest.mark.parametrize("where", ["before", "after"])
def test_verbose_logs_what_happens(folder, where):
    with LocalMesh(folder, watch=False) as mesh:
        command = ["resolve", "reviews.demo:9080", "--discovery-address", mesh.address]
        quiet = python(PROGRAM, *command)
        loud = python(PROGRAM, *(["-vv", *command] if where == "before" else [*command, "-vv"]))
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert loud.returncode == 0
    assert re.search(r"^DEBUG proxyless\.", loud.stderr, re.MULTILINE)


def test_a_mistyped_variable_is_named_with_the_nearest_right_one(run, mesh, monkeypatch):
    monkeypatch.setenv("PROXYLESS_NAMESPCE", "demo")
    monkeypatch.setenv("PROXYLESS_SERVICE_HOST", "10.0.0.1")  # Kubernetes writes these for a Service named proxyless
    monkeypatch.setenv("PROXYLESS_PORT_80_TCP_ADDR", "10.0.0.1")
    status, _, why = run("status", "--discovery-address", mesh.address)
    assert status == 0
    said = [line for line in why.splitlines() if line]
    assert said == ["PROXYLESS_NAMESPCE is no setting and does nothing: did you mean PROXYLESS_NAMESPACE?"]


def test_a_mistyped_variable_is_told_of_once_by_the_log_too(mesh, monkeypatch):
    monkeypatch.setenv("PROXYLESS_NAMESPCE", "demo")
    loud = python(PROGRAM, "status", "-v", "--discovery-address", mesh.address)
    assert loud.returncode == 0
    [said] = [line for line in loud.stderr.splitlines() if "NAMESPCE" in line]
    assert said.startswith("WARNING ")


@pytest.mark.parametrize(
    ("missing", "module", "said"),
    [
        ("yaml", "localmesh", "the embedded control plane needs yaml: pip install 'proxyless[localmesh]'"),
        ("watchfiles", "proxyless.localmesh", "the embedded control plane needs watchfiles: pip install 'proxyless"),
        ("grpc_channelz", "rpc.channelz", "rpc.channelz needs grpcio-channelz: pip install 'proxyless[channelz]'"),
    ],
)
def test_an_import_without_its_extra_is_one_sentence(missing, module, said):
    done = python(f"import sys; sys.modules[{missing!r}] = None; import {module}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"ModuleNotFoundError: {said}")


def test_the_help_of_settings_shows_no_secrets(monkeypatch):
    monkeypatch.setenv("MY_SECRET", "hunter2")
    done = python("from xds_client import Bootstrap; import pydoc; print(pydoc.render_doc(Bootstrap))")
    assert "load(" in done.stdout
    assert "hunter2" not in done.stdout


@pytest.mark.parametrize(
    "options",
    [["--namespace", "demo", "--lifetime", "-5"], ["--namespace", "a b"], ["--namespace", "X" * 70]],
)
def test_a_token_of_what_can_not_be_is_refused(run, folder, tmp_path, options):
    with LocalMesh(folder, ca=tmp_path / "ca"):
        status, said, why = run("localmesh", "token", "--ca", str(tmp_path / "ca"), "--service-account", "a", *options)
    assert (status != 0, said) == (True, "")
    assert "Traceback" not in why


@contextmanager
def a_mesh_that_ends_connections():
    """By a GOAWAY of which grpcio's C core writes a line of its own on the terminal."""
    settings, reason = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]), b"too_many_pings"
    goaway = bytes([0, 0, 8 + len(reason), 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]) + reason
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(settings + goaway)
                        connection.recv(65536)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(("verbosity", "is_raw"), [(None, False), ("ERROR", True)])
def test_what_the_c_core_says_stays_off_the_terminal_unless_it_is_asked_for(monkeypatch, verbosity, is_raw):
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    if verbosity:
        monkeypatch.setenv("GRPC_VERBOSITY", verbosity)
    with a_mesh_that_ends_connections() as address:
        done = python(PROGRAM, "resolve", "x:1", "--timeout", "3", "--discovery-address", address)
    assert done.returncode == 1
    assert bool(re.search(r"^[EWI]\d{4} ", done.stderr, re.MULTILINE)) is is_raw
