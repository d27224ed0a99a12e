"""`proxyless resolve` against a served mesh, and what it says when there is nothing to show."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

TARGET = "xds:///reviews.demo:9080"
SUBSET = "outbound|9080|{}|reviews.demo.svc.cluster.local"
NOBODY = "127.0.0.1:1"

TREE = """\
├── routes  the first that matches decides
│   ├── 1. path prefix / and x-user exact [tester]
│   │   ├── 100 % to outbound|9080|v2|reviews.demo.svc.cluster.local
│   │   └── timeout 2 s
│   └── 2. path prefix /
│       ├── 75 % to outbound|9080|v1|reviews.demo.svc.cluster.local
│       └── 25 % to outbound|9080|v2|reviews.demo.svc.cluster.local
└── clusters
    ├── outbound|9080|v1|reviews.demo.svc.cluster.local  EDS, LEAST_REQUEST as weighted round robin, connect within 10 s
    │   └── eu/west/a  priority 0, weight 1
    │       └── 127.0.0.1:9080  weight 1, UNKNOWN, plaintext
    └── outbound|9080|v2|reviews.demo.svc.cluster.local  EDS, LEAST_REQUEST as weighted round robin, connect within 10 s
        └── eu/west/b  priority 0, weight 4
            └── 127.0.0.2:9080  weight 4, UNKNOWN, mTLS, SNI outbound_.9080_.v2_.reviews.demo.svc.cluster.local
"""


@pytest.mark.parametrize("target", [TARGET, "reviews.demo:9080", "xds:///reviews.demo.svc.cluster.local:9080"])
def test_the_tree_shows_routes_in_order_clusters_and_endpoints(mesh, run, target):
    status, out, errors = run("resolve", target, "--discovery-address", mesh.address)
    assert (status, errors) == (0, "")
    assert [re.sub(", [^ ]*;demo;.*", "", line) for line in out.splitlines()[1:]] == TREE.splitlines()


def test_json_says_the_same(mesh, run):
    status, out, _ = run("resolve", TARGET, "--json", "--discovery-address", mesh.address)
    assert status == 0
    config = json.loads(out)
    assert config["host"] == "reviews.demo.svc.cluster.local"
    first, second = config["virtual_host"]["routes"]
    assert first["match"]["headers"][0]["rule"] == {"kind": "exact", "value": "[tester]", "ignore_case": False}
    assert [cluster["weight"] for cluster in second["action"]["clusters"]] == [75, 25]
    endpoints = {
        cluster["name"]: endpoint
        for cluster in config["clusters"]
        for locality in cluster["endpoints"]["localities"]
        for endpoint in locality["endpoints"]
    }
    assert endpoints[SUBSET.format("v1")]["tls"] is None
    assert endpoints[SUBSET.format("v2")]["tls"]["sni"].endswith("reviews.demo.svc.cluster.local")
    assert endpoints[SUBSET.format("v2")]["transport_labels"] == {"tlsMode": "istio"}


@pytest.mark.parametrize("mode", ["ALLOW_ANY", "REGISTRY_ONLY"])
def test_an_unknown_host_is_named_with_the_reason(mesh, folder, run, mode):
    (folder / "mesh.yaml").write_text(f"outboundTrafficPolicy: {{mode: {mode}}}")
    mesh.reload()
    status, out, errors = run("resolve", "ratings.demo:9080", "--discovery-address", mesh.address)
    assert status == 1
    assert ("called past the mesh" in out) == (mode == "ALLOW_ANY")
    assert mode in errors
    assert "no host 'ratings.demo'" in errors
    assert "empty route table" in errors
    assert "sidecar~" in errors


def test_without_a_control_plane_it_says_what_was_tried(run):
    status, out, errors = run("resolve", TARGET, "--discovery-address", NOBODY, "--timeout", "0.3")
    assert (status, out) == (1, "")
    assert "no configuration within 0.3 s" in errors
    assert f"control plane  {NOBODY}: " in errors
    assert "after 1 attempt, last error: UNAVAILABLE" in errors
    assert "asked for reviews.demo.svc.cluster.local:9080" in errors
    assert "--discovery-address" in errors


@pytest.mark.parametrize(("target", "why"), [("reviews", "needs a port"), ("reviews:0", "is not a port")])
def test_what_is_no_target_is_refused(run, target, why):
    status, _, errors = run("resolve", target)
    assert status == 2
    assert why in errors


def test_a_bad_setting_is_named(run, monkeypatch, tmp_path):
    assert run("resolve", TARGET, "--discovery-address", "istiod")[::2] == (
        1,
        "PROXYLESS_DISCOVERY_ADDRESS: discovery_address: 'istiod' is not host:port\n",
    )
    monkeypatch.setenv("PROXYLESS_CONFIG", str(tmp_path / "none.toml"))
    status, _, errors = run("status")
    assert status == 1
    assert "none.toml: PROXYLESS_CONFIG: cannot be read" in errors


def test_watching_prints_every_change_until_ctrl_c(mesh, folder):
    command = [sys.executable, "-W", "error", "-m", "proxyless", "resolve", TARGET, "--watch", "--json"]
    with subprocess.Popen(
        [*command, "--discovery-address", mesh.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert json.loads(process.stdout.readline())["virtual_host"]["routes"][1]
            text = (folder / "routes.yaml").read_text()
            (folder / "routes.yaml").write_text(text.replace("75", "60").replace("25", "40"))
            changed = json.loads(process.stdout.readline())["virtual_host"]["routes"][1]["action"]["clusters"]
            assert [cluster["weight"] for cluster in changed] == [60, 40]
            (folder / "services.yaml").unlink()
            (folder / "routes.yaml").unlink()
            while not (told := json.loads(process.stdout.readline())).get("past_the_mesh"):
                pass
            assert "no host 'reviews.demo'" in told["past_the_mesh"]
        finally:
            process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    assert (process.returncode, out, errors) == (130, "", "")


def test_watching_tells_a_reader_where_a_change_begins(mesh, folder):
    command = [sys.executable, "-m", "proxyless", "resolve", TARGET, "--watch", "--discovery-address", mesh.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert "--- changed" not in process.stdout.readline()
            text = (folder / "routes.yaml").read_text()
            (folder / "routes.yaml").write_text(text.replace("75", "60").replace("25", "40"))
            assert any(line.startswith("--- changed at ") for line in process.stdout)
        finally:
            process.send_signal(signal.SIGINT)
