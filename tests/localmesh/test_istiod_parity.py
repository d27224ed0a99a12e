"""The captured YAML gives what the real istiod sent for it, field by field, but for the differences named here."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from localmesh.compile import Locality, Snapshot, View
from localmesh.config import read_folder
from tests.localmesh.captures import CLASSES, CONFIG, FOLDER, captured, captured_of_all_types, differences, without

# the node of the captures; the delta EDS was taken by a node without a locality
NODE = View("demo", Locality("eu-west", "zone-a", "rack-1"), addresses=("127.0.0.9",))
NODE_WITHOUT_LOCALITY = View("demo")

# Deliberate differences: (resource name, field path) as regular expressions, and why. A row that no difference needs
# any more fails the test.
DIFFERENCES = {
    (r".*", r"filters\[0\]\..*"): "metadata exchange between Envoys: a TCP filter that no other client can run",
    # on demand there is one virtual host for everything, where the captured port table lists its names
    (r".*", r"virtual host domains\[\d+\]"): "port tables list the names of a host; on demand it is all there is",
}


# Filters of virtualInbound that istiod has and localmesh has not: for Envoys with Istio's own filters.
LEFT_OUT = r"istio\.metadata_exchange|istio\.stats"


@pytest.fixture(scope="module")
def snapshot():
    return Snapshot(read_folder(CONFIG))


def ours(kind, packed):
    assert packed.type_url.endswith(CLASSES[kind].DESCRIPTOR.full_name)
    return CLASSES[kind].FromString(packed.value)


def all_differences(snapshot):
    """(resource name, field path, istiod's value, ours) of all captured resources."""
    found = []
    clusters = snapshot.clusters(NODE)
    theirs = captured("sidecar-delta-CDS.json")
    for name in theirs.keys() | clusters.keys():
        mine = ours("CDS", clusters[name]) if name in clusters else None
        found += [(name, path, *values) for path, values in differences(theirs.get(name), mine).items()]
    (listener,) = captured("sidecar-LDS.json").values()
    mine = ours("LDS", snapshot.listeners(replace(NODE, labels=(("app", "pod"),)))["virtualInbound"])
    mismatch = differences(without(listener, LEFT_OUT), mine)
    found += [("virtualInbound", path, *values) for path, values in mismatch.items()]
    for file, node in (("sidecar-EDS.json", NODE), ("sidecar-delta-EDS.json", NODE_WITHOUT_LOCALITY)):
        for name, message in captured(file).items():
            mine = ours("EDS", snapshot.endpoints(name, node))
            found += [(name, path, *values) for path, values in differences(message, mine).items()]
    for name, message in captured("sidecar-RDS.json").items():
        if not name.isdigit():
            mine = ours("RDS", snapshot.routes(name, NODE))
            found += [(name, path, *values) for path, values in differences(message, mine).items()]
        for host in message.virtual_hosts:
            if host.name != "allow_any":  # the end of a port table, for hosts that nobody knows
                mine = ours("RDS", snapshot.routes(host.name, NODE))
                assert mine.name == host.name
                assert [virtual_host.name for virtual_host in mine.virtual_hosts] == [host.name]
                mismatch = differences(host, mine.virtual_hosts[0])
                found += [(host.name, f"virtual host {path}", *values) for path, values in mismatch.items()]
    return found


def test_every_difference_from_istiod_is_named(snapshot):
    used = set()
    unnamed = []
    for name, path, theirs, mine in all_differences(snapshot):
        row = next((row for row in DIFFERENCES if re.fullmatch(row[0], name) and re.fullmatch(row[1], path)), None)
        if row is None:
            unnamed.append(f"{name} {path}: istiod {theirs!r}, ours {mine!r}")
        used.add(row)
    assert unnamed == []
    assert DIFFERENCES.keys() - used == set(), "these differences are gone: take them out of the table"


CORNERS = {
    "corners-demo.json": View("demo", Locality("eu-west", "zone-a", "rack-2")),
    "corners-other.json": View("other", Locality("us-east")),
}


@pytest.mark.parametrize(("file", "node"), CORNERS.items(), ids=CORNERS)
def test_the_corners_of_the_api_are_as_istiods(file, node):
    snapshot = Snapshot(read_folder(FOLDER / "corners"))
    asked = {"CDS": lambda name: snapshot.clusters(node).get(name)}
    asked["EDS"] = lambda name: snapshot.endpoints(name, node)
    asked["RDS"] = lambda name: snapshot.routes(name, node)
    unnamed = []
    for (kind, name), message in captured_of_all_types(file).items():
        packed = asked[kind](name)
        found = differences(message, ours(kind, packed) if packed is not None else None)
        unnamed += [
            f"{kind} {name} {path}: {values}" for path, values in found.items() if not path.startswith("filters[0].")
        ]
    assert unnamed == []
    names = {name for kind, name in captured_of_all_types(file) if kind == "CDS"}
    assert snapshot.clusters(node).keys() == names | {"InboundPassthroughCluster"}


def test_the_captures_are_not_empty():
    assert len(captured("sidecar-delta-CDS.json")) == 20
    assert len(captured("sidecar-EDS.json")) == 10
    assert sum(len(message.virtual_hosts) for message in captured("sidecar-RDS.json").values()) == 11


def test_an_on_demand_answer_is_one_virtual_host_for_everything(snapshot):
    answer = ours("RDS", snapshot.routes("reviews.demo.svc.cluster.local:9080", NODE))
    assert [list(host.domains) for host in answer.virtual_hosts] == [["*"]]
    assert answer.ignore_port_in_host_matching


@pytest.mark.parametrize(
    "name",
    [
        "nosuch.demo.svc.cluster.local:9080",
        "reviews.demo.svc.cluster.local:9082",
        "reviews.demo.svc.cluster.local:1",
        f"reviews.demo.svc.cluster.local:{'9' * 5000}",
    ],
    ids=["unknown host", "TCP port", "unknown port", "no port at all"],
)
def test_what_has_no_routes_is_answered_without_virtual_hosts(snapshot, name):
    answer = ours("RDS", snapshot.routes(name, NODE))
    assert answer.name == name
    assert not answer.virtual_hosts
