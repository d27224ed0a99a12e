"""The control plane and a workload die under load: calls go on, and a later change still arrives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from e2e import yamls
from e2e.calls import Load, until

if TYPE_CHECKING:
    from e2e.conftest import Connect, StartMesh
    from e2e.workloads import Fleet

RATE = 200.0
OUTAGE = 30.0


@pytest.mark.timeout(150)
def test_calls_survive_the_control_plane_and_an_endpoint(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    fleet.add("reviews", "v1", count=3)
    fleet.add("reviews", "v2", count=2)

    def routes(weights: dict[str, int]) -> str:
        return yamls.documents(yamls.virtual_service("reviews", yamls.route("reviews", weights)))

    mesh = start_mesh(
        {
            "services": yamls.documents(yamls.service_entry("reviews"), *fleet.entries()),
            "rules": yamls.documents(yamls.destination_rule("reviews", ["v1", "v2"])),
            "routes": routes({"v1": 80, "v2": 20}),
        }
    )
    client = connect(mesh)
    victim = fleet.workloads[0]
    assert victim.name in client.servers(200)

    with Load(client, rate=RATE) as load:
        time.sleep(1)
        mesh.kill()
        control_plane_died = time.monotonic()
        time.sleep(OUTAGE / 3)
        endpoint_dies = time.monotonic()
        victim.process.kill()
        endpoint_died = time.monotonic()
        time.sleep(control_plane_died + OUTAGE - time.monotonic())

        mesh.apply("routes", routes({"v2": 100}))
        mesh.start()
        back = time.monotonic()

        def moved() -> bool:
            latest = load.outcomes()[-50:]
            return all(one.server and fleet.version_of(one.server) == "v2" for one in latest)

        until(moved, 25, "the change made while the control plane was down arrives without a restart of ours")
        arrived = time.monotonic() - back

    outcomes = load.outcomes()
    failed = [one for one in outcomes if one.server is None]
    in_flight = [one for one in failed if one.started <= endpoint_died and one.ended >= endpoint_dies]
    rate = len(outcomes) / (outcomes[-1].started - outcomes[0].started)
    slowest = max(one.seconds for one in outcomes)
    print(
        f"\n{mesh.kind}: {len(outcomes)} calls at {rate:.0f}/s, slowest {slowest * 1000:.0f} ms; {len(failed)} failed, "
        f"{len(in_flight)} of them in flight on the endpoint that was killed; the change arrived after {arrived:.1f} s"
    )
    assert rate >= 0.95 * RATE
    assert failed == in_flight
    assert len(in_flight) <= 16, "no more calls can be in flight than there are threads"
    during = [one for one in outcomes if endpoint_died < one.started < back]
    assert {one.server for one in during} == {one.name for one in fleet.workloads if one is not victim}


@pytest.mark.timeout(120)
def test_endpoints_die_one_after_the_other(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    """A call that begins once an endpoint is dead goes elsewhere, even if it is the first to find out."""
    fleet.add("reviews", "v1", count=3)
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"), *fleet.entries())})
    client = connect(mesh)
    too_late = []
    for number in range(12):
        victim = fleet.workloads[number % len(fleet.workloads)]
        until(lambda victim=victim: victim.name in client.servers(30), 10, f"{victim.name} is called")
        with Load(client, rate=RATE) as load:
            time.sleep(0.3)
            victim.process.kill()
            died = time.monotonic()
            time.sleep(0.3)
        victim.process.start()
        too_late += [(one.started - died, one) for one in load.outcomes() if one.server is None and one.started > died]
    assert not too_late, f"{len(too_late)} calls failed that began after an endpoint had died, the first: {too_late[0]}"


@pytest.mark.timeout(90)
def test_a_control_plane_that_comes_late(start_mesh: StartMesh, fleet: Fleet, connect: Connect) -> None:
    """Killed before we first ask; the call waits for it within its deadline."""
    fleet.add("reviews", "v1")
    mesh = start_mesh({"services": yamls.documents(yamls.service_entry("reviews"), *fleet.entries())})
    mesh.kill()
    client = connect(mesh)
    missed = client.call(timeout=1.0)
    assert missed.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), missed
    assert missed.seconds < 1.5
    mesh.start()
    until(lambda: client.call(timeout=5.0).server is not None, 30, "calls succeed once the control plane is there")
