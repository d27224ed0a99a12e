"""An edit compiles what it changed: counted, not timed."""

from __future__ import annotations

import pytest

from localmesh import ConfigError
from localmesh.compile import Snapshot, View, snapshot
from localmesh.config import FolderReader, folder, read_folder
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


def test_an_edit_reads_the_file_that_was_edited_and_the_rest_are_the_same_objects(tmp_path, monkeypatch):
    parsed = []
    parser = folder.documents
    monkeypatch.setattr(folder, "documents", lambda text: parsed.append(text) or parser(text))
    write(tmp_path, **{f"s{number}": text for number, text in enumerate(MANY)})
    reader = FolderReader(tmp_path)
    first = reader.read()
    parsed.clear()
    edited = MANY[3].replace("127.0.0.2", "127.0.0.3")
    write(tmp_path, s3=edited)
    second = reader.read()
    assert parsed == [edited]
    kept = {id(entry) for entry in first.service_entries} & {id(entry) for entry in second.service_entries}
    assert len(kept) == len(MANY) - 1
    assert second == read_folder(tmp_path)


def test_what_was_wrong_with_one_file_is_said_again_and_gone_once_it_is_mended(tmp_path):
    write(tmp_path, good=MANY[0], bad="kind: 1\n", twice=MANY[0])
    reader = FolderReader(tmp_path)
    said = []
    for _ in range(2):
        with pytest.raises(ConfigError) as refused:
            reader.read()
        said.append([str(problem) for problem in refused.value.problems])
    assert said[0] == said[1]
    assert [problem.rpartition("/")[2] for problem in said[0]] == [
        "bad.yaml:1: apiVersion: is missing: every document needs apiVersion and kind",
        "s0 is defined twice",
    ]
    write(tmp_path, bad="")
    (tmp_path / "twice.yaml").unlink()
    assert [entry.name for entry in reader.read().service_entries] == ["s0"]


def test_an_edit_makes_the_endpoints_that_it_changed(tmp_path, monkeypatch):
    made = []
    maker = snapshot.locality_endpoints
    monkeypatch.setattr(
        snapshot, "locality_endpoints", lambda service, *rest: made.append(service.hostname) or maker(service, *rest)
    )
    write(tmp_path, **{f"s{number}": text for number, text in enumerate(MANY)})
    reader = FolderReader(tmp_path)
    names = [f"outbound|9080||s{number}.demo.svc.cluster.local" for number in range(len(MANY))]
    first = Snapshot(reader.read())
    before = [first.endpoints(name, VIEW) for name in names]
    made.clear()
    write(tmp_path, s3=MANY[3].replace("127.0.0.2", "127.0.0.3"))
    after = [Snapshot(reader.read(), before=first).endpoints(name, VIEW) for name in names]
    assert made == ["s3.demo.svc.cluster.local"]
    assert [number for number, bodies in enumerate(zip(before, after, strict=True)) if bodies[0] != bodies[1]] == [3]


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
