"""The YAML of docs/into-the-mesh.md: a real API server takes it, and the chart says the same about a member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.child import ROOT
from e2e.cluster.api import Api, ApiError
from e2e.cluster.release import render
from tests.docs.pages import blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "into-the-mesh.md"

Object = dict[str, Any]


def documents() -> list[Object]:
    return [one for block in blocks(PAGE.read_text(), "yaml") for one in yaml.safe_load_all(block)]


def template(of: list[Object], name: str) -> Object:
    [deployment] = [one for one in of if one["kind"] == "Deployment" and one["metadata"]["name"] == name]
    return dict(deployment["spec"]["template"])


def member(pod: Object) -> Object:
    """What makes it a member, and how it is probed and ended; not what is the program's own."""
    spec = pod["spec"]
    [container] = spec["containers"]
    environment = [one for one in container["env"] if one["name"] not in ("VERSION", "WORK_SECONDS", "DRAIN_SECONDS")]
    ports = [one for one in container["ports"] if one["name"] != "status"]
    kept = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "securityContext", "volumeMounts")
    labels = {name: value for name, value in pod["metadata"]["labels"].items() if "istio" in name}
    return {
        "labels": labels,
        "volumes": spec["volumes"],
        "grace": spec["terminationGracePeriodSeconds"],
        "token": spec["automountServiceAccountToken"],
        "environment": environment,
        "ports": ports,
        **{name: container.get(name) for name in kept},
    }


def test_the_chart_and_the_page_make_members_in_one_way(tmp_path: Path) -> None:
    """The same probes, the same end, the same mounts and variables."""
    page, chart = template(documents(), "shop"), template(render("demo", {}, tmp_path), "reviews-v1")
    assert member(page) == member(chart)
    drain = [one for one in chart["spec"]["containers"][0]["env"] if one["name"] == "DRAIN_SECONDS"]
    assert drain == [{"name": "DRAIN_SECONDS", "value": "5"}]
    consumer = template(render("demo", {}, tmp_path), "demo-consumer")["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert consumer[probe] == page["spec"]["containers"][0][probe]


@pytest.fixture
def namespace(api: Api) -> str:
    """Of the page's own name."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
    return "demo"


def test_the_api_server_takes_every_document(api: Api, namespace: str) -> None:
    said = documents()
    assert {one["kind"] for one in said} == {
        "ServiceAccount",
        "Service",
        "Deployment",
        "NetworkPolicy",
        "PeerAuthentication",
    }
    for one in said:
        api.apply(one, namespace, dry_run=True)


def test_the_pod_is_restricted_as_the_page_says(api: Api, namespace: str) -> None:
    """With a seccomp profile it passes the strictest standard; Kubernetes says of a Pod, not of a Deployment."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop"},
        "spec": template(documents(), "shop")["spec"],
    }
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    labelled = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{namespace}-strict", "labels": strict}}
    api.apply(labelled)
    [account] = [one for one in documents() if one["kind"] == "ServiceAccount"]
    api.apply({**account, "metadata": {"name": "shop"}}, f"{namespace}-strict")
    with pytest.raises(ApiError, match="seccompProfile"):
        api.apply(pod, f"{namespace}-strict", dry_run=True)
    pod["spec"]["securityContext"]["seccompProfile"] = {"type": "RuntimeDefault"}
    api.apply(pod, f"{namespace}-strict", dry_run=True)
