"""Every type can be observed, left and observed again on one stream, any number of times, and is answered each time."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from e2e import yamls
from e2e.exchange import NODE
from tests.xds_client.observations import ObservationMachine, existing_and_not
from xds_client.model import Target
from xds_client.resolve import Inbound

if TYPE_CHECKING:
    from e2e.conftest import Exchange, StartMesh
    from xds_client import ObserverHandle, PilotExchanger


class BesideMesh(ObservationMachine):
    there, absent = existing_and_not(yamls.fqdn("reviews"), yamls.PORT)
    exchanger: PilotExchanger

    def start_observing(self, interest: Any) -> tuple[ObserverHandle, queue.SimpleQueue[Any]]:
        heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        if isinstance(interest, Inbound):
            return self.exchanger.observe_inbound(heard.put), heard
        if isinstance(interest, Target):
            return self.exchanger.observe_target(interest, heard.put), heard
        return self.exchanger.observe(interest.kind, interest.names, heard.put), heard

    def answer(self, heard: queue.SimpleQueue[Any]) -> Any:
        return heard.get(timeout=10.0)  # less than the patience after which silence counts as an answer


def test_observed_left_and_observed_again(start_mesh: StartMesh, exchange: Exchange) -> None:
    workload = yamls.workload_entry("reviews-1", NODE.ip, "reviews", "v1")
    services = yamls.documents(yamls.service_entry("reviews"), workload)
    mesh = start_mesh({"services": services}, outbound="REGISTRY_ONLY")  # else unknown hosts can be called
    machine = type("Machine", (BesideMesh,), {"exchanger": exchange(mesh)})
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=10, stateful_step_count=20, deadline=None, suppress_health_check=checks)
    )


def test_get_inbound_twice(start_mesh: StartMesh, exchange: Exchange) -> None:
    exchanger = exchange(start_mesh({}))
    assert [exchanger.get_inbound(timeout=10.0).name for _ in range(3)] == ["virtualInbound"] * 3
