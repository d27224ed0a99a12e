"""An edit compiles what it changed: counted, not timed."""

from __future__ import annotations

import pytest

from localmesh.compile import Snapshot, View, snapshot
from localmesh.config import read_folder
from tests.localmesh.yaml_folder import SERVICE, resource, write

MANY = [
    SERVICE.replace("name: reviews", f"name: s{number}").replace("reviews.demo", f"s{number}.demo")
    for number in range(20)
]


@pytest.fixture
def built(monkeypatch):
    """The hosts whose clusters are compiled."""
    hosts = []
    compiler = snapshot.outbound_clusters

    def counted(scope):
        hosts.append(scope.service.hostname.partition(".")[0])
        return compiler(scope)

    monkeypatch.setattr(snapshot, "outbound_clusters", counted)
    return hosts


VIEW = View("demo")
TO = "{route: [{destination: {host: s6}}]}"
PEER = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: d, namespace: demo}\nspec: {mtls: {mode: DISABLE}}\n"  # noqa: E501
EDITS = {
    "an endpoint": ({"s3": MANY[3].replace("127.0.0.2", "127.0.0.3")}, {"s3"}),
    "a port": ({"s4": MANY[4].replace("9090", "9091")}, {"s4"}),
    "a rule": ({"rule": resource("DestinationRule", "r", "host: s5\nsubsets: [{name: v1}]")}, {"s5"}),
    "a route": ({"route": resource("VirtualService", "r", f"hosts: [s5]\nhttp: [{TO}]")}, set()),
    "nothing": ({}, set()),
    "the mesh": ({"mesh": "enableAutoMtls: false"}, {f"s{number}" for number in range(20)}),
    "a policy of peers": ({"peer": PEER}, {f"s{number}" for number in range(20)}),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "rebuilt"), EDITS.values(), ids=EDITS.keys())
def test_an_edit_compiles_what_it_changed_and_serves_the_same_as_a_fresh_start(tmp_path, built, edit, rebuilt):
    write(tmp_path, **{f"s{number}": text for number, text in enumerate(MANY)})
    first = Snapshot(read_folder(tmp_path))
    first.clusters(VIEW)
    built.clear()
    resources = read_folder(write(tmp_path, **edit))
    after = Snapshot(resources, before=first).clusters(VIEW)
    assert set(built) == rebuilt
    fresh = Snapshot(resources).clusters(VIEW)
    assert {name: body.value for name, body in after.items()} == {name: body.value for name, body in fresh.items()}
    assert list(after) == list(fresh)


def test_what_came_before_is_not_kept_alive(tmp_path):
    """A chain of all snapshots that ever were would be a leak."""
    import gc  # noqa: PLC0415
    import weakref  # noqa: PLC0415

    resources = read_folder(write(tmp_path, s=SERVICE))
    first = Snapshot(resources)
    first.clusters(VIEW)
    second = Snapshot(resources, before=first)
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
    assert second.clusters(VIEW)
