"""From sidecars to pods without, and back, as docs/into-the-mesh.md has it: both serve one Service, no call fails."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from e2e import yamls
from e2e.envoy.load import RATE, Calls
from e2e.envoy.pods import DECLARED
from e2e.envoy.village import CALLERS, PORTS, peer_authentication, until

if TYPE_CHECKING:
    from e2e.envoy.village import Village

pytestmark = pytest.mark.timeout(300)

ADDRESS = "10.96.0.200"  # of the Service, for callers behind a sidecar
OLD, NEW = "shop", "web"  # with a sidecar, and one of ours without
STEPS = [{OLD}, {OLD, NEW}, {NEW}, {OLD, NEW}, {OLD}]  # whom the Service selects, there and back


def select(town: Village, names: set[str]) -> None:
    endpoints = [
        {"address": pod.address, "serviceAccount": name, "labels": pod.labels()}
        for name, pod in sorted(town.pods.items())
        if name in names
    ]
    service = yamls.service_entry("store", addresses=[ADDRESS], ports=PORTS, endpoints=endpoints)
    town.mesh.apply("store", yamls.documents(service))


def begin(town: Village, kind: str) -> Calls:
    targets = {"ours": f"xds:///{yamls.fqdn('store')}:{DECLARED}", "envoy": f"{ADDRESS}:{DECLARED}"}
    caller, engine = town.pods[CALLERS[kind]], "grpcio" if kind == "envoy" else kind
    return Calls(kind, lambda: caller.call(engine, targets[kind], fresh=False))


def answering(calls: Calls) -> set[str | None]:
    """Who answered the last second's calls."""
    return {one.server for one in calls.answers[-int(RATE) :]}


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE"])
def test_both_kinds_of_pods_serve_one_service_and_no_call_fails(town: Village, mode: str) -> None:
    if not town.pods[NEW].serves:
        town.pods[NEW].serve("rpc")
    kinds = ["ours", "envoy"] if town.mesh.kind == "istiod" else ["ours"]  # localmesh sends no outbound listeners
    select(town, STEPS[0])
    town.apply(peer_authentication("all", mode))
    town.settle({DECLARED: mode})
    for kind in kinds:  # they have heard of the Service
        until(lambda kind=kind: begin(town, kind).call().accepted, True, f"{kind} reaches the Service", 30.0)
    with ExitStack() as calling:
        running = [calling.enter_context(begin(town, kind)) for kind in kinds]
        for step in STEPS:
            select(town, step)
            for calls in running:
                said = len(calls.answers)
                until(lambda calls=calls, said=said: len(calls.answers) > said + RATE, True, "calls go on", 30.0)
                until(lambda calls=calls: answering(calls), step, f"{calls.kind} is answered by all of {step}", 30.0)
    for calls in running:
        failed = [one for one in calls.answers if not one.accepted]
        print(f"{calls.kind:>6} {mode}: {len(calls.answers)} calls, {len(failed)} failed")
        assert not failed, f"{calls.kind}: {len(failed)} of {len(calls.answers)} failed, first {failed[0]}"
        identity = town.pods[CALLERS[calls.kind]].identity
        assert {one.identity for one in calls.answers} == {identity}, "either kind of pod is told who calls"
