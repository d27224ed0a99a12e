"""`proxyless status`: who we are, with which settings, and whether the control plane answers."""

from __future__ import annotations

import json

import pytest

from tests.xds_client.identity.authority import SPIFFE_ID
from tests.xds_client.identity.ca_server import HOST, CaServer
from tests.xds_client.identity.conftest import FakeClock
from tests.xds_client.identity.istiod import Istiod
from xds_client.channels import GRPCIO


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


@pytest.fixture
def istiod(tmp_path, monkeypatch):
    istiod = Istiod(tmp_path, GRPCIO)
    server = istiod.serve()
    ca = CaServer(istiod.authority, FakeClock().true)
    settings = {
        "SECURITY": "tls",
        "CA_ADDRESS": ca.address,
        "SERVER_NAME": HOST,
        "TOKEN_PATH": istiod.token,
        "ROOT_CERTIFICATE_PATH": istiod.roots,
        "NAMESPACE": "demo",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"PROXYLESS_{name}", str(value))
    yield istiod
    server.stop()
    ca.stop()


def test_the_identity(istiod, run):
    status, out, errors = run("status", "--timeout", "30", "--discovery-address", istiod.server.address)
    assert (status, errors) == (0, ""), out
    assert f"identity       {SPIFFE_ID}, expires in 86" in out
    assert "               from istiod's CA at localhost:" in out
    assert f"  token_path             {istiod.token}" in out.splitlines()
    assert "  identity               istiod" in out.splitlines()
    assert "good-token" not in out


def test_why_there_is_no_identity(istiod, run):
    istiod.token.write_text("bad-token")
    status, out, _ = run("status", "--timeout", "1", "--json", "--discovery-address", istiod.server.address)
    assert status == 1
    said = json.loads(out)["status"]["identity"]
    assert said["spiffe_id"] == ""
    assert "UNAUTHENTICATED: request authenticate failure; it was shown token" in said["error"]
    _, out, _ = run("status", "--timeout", "1", "--discovery-address", istiod.server.address)
    assert "identity       none" in out
    assert "UNAUTHENTICATED" in out
    assert "bad-token" not in out
