"""`proxyless status`: who we are, with which settings, and whether the control plane answers."""

from __future__ import annotations

import json


def test_settings_and_connection(mesh, run, monkeypatch):
    monkeypatch.setenv("PROXYLESS_NAMESPACE", "demo")
    monkeypatch.setenv("PROXYLESS_LABELS", "app=shop,version=v1")
    monkeypatch.setenv("PROXYLESS_IP", "10.0.0.1")
    monkeypatch.setenv("PROXYLESS_POD_NAME", "shop")
    status, out, errors = run("status", "--discovery-address", mesh.address)
    assert (status, errors) == (0, "")
    lines = out.splitlines()
    assert "node           sidecar~10.0.0.1~shop.demo~demo.svc.cluster.local" in lines
    assert f"control plane  {mesh.address}: connected" in lines
    assert "  namespace          demo" in lines
    assert "  labels             app=shop, version=v1" in lines
    assert "  locality           -" in lines
    assert f"  discovery_address  {mesh.address}" in lines


def test_json(mesh, run):
    status, out, _ = run("status", "--json", "--discovery-address", mesh.address)
    said = json.loads(out)
    assert status == 0
    assert said["bootstrap"]["discovery_address"] == said["status"]["address"] == mesh.address
    assert said["status"]["connection"]["phase"] == "connected"
    assert said["status"]["wanted"] == {"Cluster": ["*"]}


def test_nobody_there(run):
    status, out, errors = run("status", "--discovery-address", "127.0.0.1:1", "--timeout", "0.3")
    assert status == 1
    assert "control plane  127.0.0.1:1: waiting after 1 attempt, last error: UNAVAILABLE" in out
    assert "--discovery-address" in errors
