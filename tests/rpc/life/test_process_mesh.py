"""The process's own mesh, and meshes that are named: channels and servers are given them alike."""

from __future__ import annotations

import time

import pytest

import rpc
from localmesh import LocalMesh
from tests.rpc.mesh import YAML, Mesh, by_the_name_of
from tests.rpc.script import PATIENCE, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import MeshWorld
from xds_client import Bootstrap, PilotExchanger
from xds_client.channels import GrpcChannels

TARGET = "xds:///reviews.demo:9080"
STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: demo}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture
def meshes(tmp_path, monkeypatch):
    """Makes meshes whose service answers by the given name; the process is a member of the newest."""
    made = []

    def make(name):
        (tmp_path / name).mkdir()
        made.append(Mesh(tmp_path / name, by_the_name_of(name)))
        made[-1].plane.start()
        for variable, value in made[-1].environment.items():
            monkeypatch.setenv(variable, value)
        return made[-1]

    yield make
    rpc.mesh().close()
    for mesh in made:
        mesh.close()


def until(true):
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_whoever_sets_another_mesh_in_the_environment_gets_it(meshes, our_world):
    for name in ("one", "two"):
        meshes(name)
        assert our_world.connect(TARGET).call("unary", asked("you")).messages == [f"Hello, {name}!"]


def test_channels_stay_with_the_mesh_that_they_were_made_with_and_it_ends_after_the_last(meshes):
    meshes("one")
    first = rpc.mesh()
    channel = rpc.insecure_channel(TARGET)
    meshes("two")
    second = rpc.mesh()
    assert second is not first
    assert not first.closed
    channel.close()
    assert rpc.mesh() is second
    assert first.closed
    assert not second.closed


def test_the_processs_mesh_says_how_it_stands_and_after_its_end_there_is_another(meshes):
    plane = meshes("one").plane
    mesh = rpc.mesh()
    assert rpc.mesh() is mesh
    until(lambda: mesh.status().ready)
    assert (mesh.status().address, mesh.identity) == (plane.address, None)
    mesh.close()
    assert mesh.closed
    assert rpc.mesh() is not mesh
    until(lambda: rpc.mesh().status().ready)


def test_an_exchanger_of_the_users_own_goes_over_our_engine(meshes, monkeypatch):
    def refuse(*_):
        raise AssertionError("a channel of grpcio's was made")

    meshes("one")
    monkeypatch.setattr(GrpcChannels, "insecure", refuse)
    with PilotExchanger(Bootstrap.load()) as mine, rpc.insecure_channel(TARGET, mesh=mine):
        until(lambda: mine.status().ready)


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_server_follows_the_mesh_that_it_is_given_as_a_channel_does(tmp_path, kind):
    """Nothing of it is in the environment: whoever opened the process's own mesh would not find anybody."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    _write(folder, port=1)
    with LocalMesh(folder) as plane:
        (tmp_path / "roots.pem").write_bytes(plane.root_certificate)
        (tmp_path / "token").write_text(plane.token("demo", "reviews"))
        bootstrap = Bootstrap.load(
            {
                "PROXYLESS_DISCOVERY_ADDRESS": plane.secure_address,
                "PROXYLESS_IP": "127.0.0.1",
                "PROXYLESS_NAMESPACE": "demo",
                "PROXYLESS_SERVICE_ACCOUNT": "reviews",
                "PROXYLESS_TOKEN_PATH": str(tmp_path / "token"),
                "PROXYLESS_ROOT_CERTIFICATE_PATH": str(tmp_path / "roots.pem"),
            },
            tmp_path,
        )
        world = MeshWorld(kind)
        with PilotExchanger(bootstrap) as mine:
            address = world.serve(polite, credentials=rpc.xds_server_credentials(), mesh=mine)
            _write(folder, port=int(address.rpartition(":")[2]))
            plane.reload()
            assert world.connect(TARGET, mesh=mine).call("unary", asked("you")).messages == ["Hello, you!"]
            world.close()


def _write(folder, port):
    """The service, whose port lets in nobody in plaintext."""
    meant_for_tls = "{address: 127.0.0.1, labels: {security.istio.io/tlsMode: istio}}"
    (folder / "reviews.yaml").write_text(YAML.format(port=port).replace("{address: 127.0.0.1}", meant_for_tls) + STRICT)
