"""An edit that takes a cluster and its route away together fails no call, on either control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e import yamls
from e2e.calls import Load, until
from xds_client.model import Target, TargetConfig

if TYPE_CHECKING:
    from e2e.conftest import Connect, Exchange, StartMesh
    from e2e.exchange import Told
    from e2e.workloads import Fleet

NAMES = ["blue", "green"]


def named(subset: str) -> str:
    """All calls go to the one subset, which has this name."""
    rule = yamls.destination_rule("reviews", [])
    rule["spec"]["subsets"] = [{"name": subset, "labels": {"version": "v1"}}]
    return yamls.documents(rule, yamls.virtual_service("reviews", yamls.route("reviews", {subset: 100})))


def test_renaming_subsets_under_load(start_mesh: StartMesh, fleet: Fleet, connect: Connect, exchange: Exchange) -> None:
    fleet.add("reviews", "v1", count=2)
    services = yamls.documents(yamls.service_entry("reviews"), *fleet.entries())
    mesh = start_mesh({"services": services, "rules": named(NAMES[0])})
    client = connect(mesh)
    told: list[Told] = []
    exchange(mesh).observe_target(Target(yamls.fqdn("reviews"), yamls.PORT), told.append)

    def follows(subset: str) -> bool:
        return bool(told) and isinstance(told[-1], TargetConfig) and f"|{subset}|" in told[-1].clusters[0].name

    client.servers(1)
    with Load(client, rate=300) as load:
        for edit in range(1, 13):
            mesh.apply("rules", named(NAMES[edit % 2]))
            until(lambda edit=edit: follows(NAMES[edit % 2]), 20, f"edit {edit} arrives")
            before = len(load.outcomes())
            until(lambda before=before: len(load.outcomes()) > before + 100, 20, "calls go on")
    failed = [outcome for outcome in load.outcomes() if outcome.server is None]
    assert not failed, f"{len(failed)} calls failed, the first one with {failed[0]}"
    bad = [c.error for config in told if isinstance(config, TargetConfig) for c in config.clusters if c.error]
    assert not bad, "a configuration was told that is not whole"
