"""A call goes where the YAML says, and where the edited YAML says soon after."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from e2e import yamls
from e2e.calls import Load, until

if TYPE_CHECKING:
    from e2e.conftest import Connect, StartMesh
    from e2e.workloads import Fleet

VERSIONS = ["v1", "v2", "v3"]


def reviews(fleet: Fleet, *http: dict[str, object]) -> dict[str, str]:
    """The service reviews with one workload of each version, and these HTTP routes."""
    for version in VERSIONS:
        fleet.add("reviews", version)
    return {
        "services": yamls.documents(yamls.service_entry("reviews"), *fleet.entries()),
        "rules": yamls.documents(yamls.destination_rule("reviews", VERSIONS)),
        "routes": yamls.documents(yamls.virtual_service("reviews", *http)),
    }


def test_weights_split_the_calls(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    calls, weights = 5000, {"v1": 80, "v2": 15, "v3": 5}
    client = connect(start_mesh(reviews(fleet, yamls.route("reviews", weights))))
    began = time.monotonic()
    servers = client.servers(calls)
    shares = Counter[str]()
    for server, count in servers.items():
        shares[fleet.version_of(server)] += count
    percent = {version: 100 * shares[version] / calls for version in weights}
    print(f"\n{calls} calls in {time.monotonic() - began:.1f} s: {percent} for weights {weights}")
    for version, weight in weights.items():
        assert abs(percent[version] - weight) <= 2, percent


def test_headers_and_paths_choose_their_subsets(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    def when(subset: str, **match: object) -> dict[str, object]:
        return yamls.route("reviews", {subset: 100}, match=[match])

    client = connect(
        start_mesh(
            reviews(
                fleet,
                when("v2", headers={"x-user": {"exact": "ada"}}),
                when("v3", headers={"x-team": {"prefix": "core-"}}),
                when("v2", headers={"x-canary": {}}),
                when("v3", uri={"exact": "/hello.Greeter/ListHellos"}),
                when("v2", uri={"prefix": "/hello.Greeter/C"}),
                yamls.route("reviews", {"v1": 100}),
            )
        )
    )

    def version(method: str = "SayHello", **metadata: str) -> str:
        named = [(name.replace("_", "-"), value) for name, value in metadata.items()]
        outcome = client.call(method=method, metadata=named)
        assert outcome.server is not None, outcome
        return fleet.version_of(outcome.server)

    assert version() == "v1"
    assert version(x_user="ada") == "v2"
    assert version(x_user="adam") == "v1"
    assert version(x_team="core-mesh") == "v3"
    assert version(x_team="score-mesh") == "v1"
    assert version(x_canary="whatever") == "v2"
    assert version(method="ListHellos") == "v3"
    assert version(method="ListHellos", x_user="ada") == "v2", "the first route that matches wins"


@pytest.mark.timeout(90)
def test_an_edit_moves_traffic_within_two_seconds(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    mesh = start_mesh(reviews(fleet, yamls.route("reviews", {"v1": 100})))
    client = connect(mesh)
    assert fleet.version_of(next(iter(client.servers(20)))) == "v1"
    took = []
    with Load(client, rate=200) as load:
        for version in ("v2", "v3", "v1"):
            edited = time.monotonic()
            text = yamls.documents(yamls.virtual_service("reviews", yamls.route("reviews", {version: 100})))
            mesh.apply("routes", text)
            time.sleep(4)
            since = [one for one in load.outcomes() if one.started >= edited]
            elsewhere = [one for one in since if one.server is None or fleet.version_of(one.server) != version]
            assert not [one for one in elsewhere if one.server is None]
            assert len(elsewhere) < len(since), f"no call went to {version} within 4 s"
            took.append(max((one.started - edited for one in elsewhere), default=0.0))
    print(f"\n{mesh.kind}: an edit moved all traffic within {', '.join(f'{seconds:.2f}' for seconds in took)} s")
    assert max(took) <= 2.0


def test_a_workload_comes_and_goes(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    fleet.add("reviews", "v1", count=2)

    def services() -> str:
        return yamls.documents(yamls.service_entry("reviews"), *fleet.entries())

    mesh = start_mesh({"services": services()})
    client = connect(mesh)
    assert len(client.servers(40)) == 2

    [third] = fleet.add("reviews", "v1")
    mesh.apply("services", services())
    end = time.monotonic() + 5
    while third.name not in client.servers(30):
        assert time.monotonic() < end, "the new workload got no call within 5 s"

    first = fleet.workloads.pop(0)
    mesh.apply("services", services())
    end = time.monotonic() + 5
    while first.name in (servers := client.servers(30)):
        assert time.monotonic() < end, "the removed workload still got calls after 5 s"
    assert len(servers) == 2
    first.process.stop()
    client.servers(100)


def test_the_share_of_a_workload_that_is_down_goes_to_all_others(
    start_mesh: StartMesh, fleet: Fleet, connect: Connect
) -> None:
    """The control plane knows nothing of its end: by its word it is as healthy as the others."""
    calls, workloads = 3000, fleet.add("reviews", "v1", count=4)
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"), *fleet.entries())})
    client = connect(mesh)
    assert len(client.servers(40)) == len(workloads)
    workloads[1].process.stop()
    with contextlib.suppress(AssertionError):  # calls that were on their way to it
        client.servers(20)
    shares = client.servers(calls)
    assert set(shares) == {one.name for one in workloads} - {workloads[1].name}
    for name, count in shares.items():
        assert abs(count / calls - 1 / 3) <= 0.02, (name, shares)


def test_a_service_asked_for_before_it_exists(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    """By its short and by its full name, on one stream that was told first that there is none."""
    mesh = start_mesh({"other": yamls.documents(yamls.service_entry("other"))})
    clients = [connect(mesh, f"xds:///{name}:9080") for name in ("reviews", "reviews.demo", yamls.fqdn("reviews"))]
    for client in clients:
        assert client.call().code is grpc.StatusCode.UNAVAILABLE
    [workload] = fleet.add("reviews", "v1")
    mesh.apply("services", yamls.documents(yamls.service_entry("reviews"), *fleet.entries()))
    for client in clients:
        until(lambda client=client: client.call().server == workload.name, 10, "the new service is called")
