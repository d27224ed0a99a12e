"""The chart by itself, and the files that a kind cluster is made from: what their own tools say of them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.child import ROOT
from e2e.cluster.release import CHART, helm, render

if TYPE_CHECKING:
    from pathlib import Path

KINDCONFIG = ROOT / ".build" / "kindconfig"
ACTIONLINT = ROOT / ".build" / "actionlint"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def test_helm_finds_nothing() -> None:
    done = helm("lint", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"mesh": {"mtsl": "STRICT"}}, "additional properties 'mtsl' not allowed"),
    "an unknown mode": ({"mesh": {"mtls": "ON"}}, "value must be one of 'STRICT', 'PERMISSIVE', 'DISABLE'"),
    "no port": ({"mesh": {"discoveryAddress": "istiod"}}, "does not match pattern"),
    "no unit": ({"mesh": {"certificateTtl": "60"}}, "does not match pattern"),
    "a life that Kubernetes refuses": ({"token": {"expirationSeconds": 60}}, "minimum: got 60, want 600"),
    "root": ({"user": 0}, "minimum: got 0, want 1"),
    "killed before it has ended": (
        {"provider": {"drainSeconds": 10}},
        "terminationGracePeriodSeconds has to be more than 30",
    ),
    "weights": (
        {"providers": [{"version": "v1", "replicas": 1, "weight": 80}]},
        "the weights add up to 80, not to 100",
    ),
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_wrong_values_are_refused_by_name(wrong: str, tmp_path: Path) -> None:
    values, said = WRONG[wrong]
    with pytest.raises(ValueError, match=said):
        render("demo", values, tmp_path)


def test_every_pod_is_a_member_without_a_sidecar(tmp_path: Path) -> None:
    pods = [one["spec"]["template"] for one in render("demo", {}, tmp_path) if one["kind"] == "Deployment"]
    assert len(pods) == 3
    for pod in pods:
        assert pod["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert pod["metadata"]["labels"]["security.istio.io/tlsMode"] == "istio"
        (token,) = pod["spec"]["volumes"][0]["projected"]["sources"]
        assert token["serviceAccountToken"] == {
            "path": "istio-token",
            "audience": "istio-ca",
            "expirationSeconds": 43200,
        }


def test_every_value_is_described() -> None:
    """In the chart's README, by its path; and the schema knows it."""
    text = (CHART / "README.md").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    for name, value in yaml.safe_load((CHART / "values.yaml").read_text()).items():
        assert name in schema["properties"]
        for path in [f"{name}.{inner}" for inner in value] if isinstance(value, dict) and value else [name]:
            assert f"`{path}" in text, f"{path} is not in the README"


def test_kind_reads_its_configuration() -> None:
    done = run(KINDCONFIG, ROOT / "kind-config.yaml")
    assert done.returncode == 0, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert {node["labels"]["topology.kubernetes.io/zone"] for node in nodes[1:]} == {"a", "b"}


def test_kind_would_refuse_what_it_does_not_know(tmp_path: Path) -> None:
    wrong = tmp_path / "kind-config.yaml"
    wrong.write_text((ROOT / "kind-config.yaml").read_text().replace("role:", "rôle:"))
    done = run(KINDCONFIG, wrong)
    assert done.returncode == 1
    assert "field rôle not found in type v1alpha4.Node" in done.stderr


def test_the_workflow_is_one() -> None:
    done = run(ACTIONLINT, ROOT / ".github" / "workflows" / "e2e-kind.yml")
    assert done.returncode == 0, done.stdout
