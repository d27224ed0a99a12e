"""The same YAML gives the same `TargetConfig` from localmesh and from the real istiod, field by field.

Cases are the files of same_target_config/, whose first comments say which targets to compare. What differs, and why,
is listed in same_target_config.toml: a difference that is not listed fails, and so does a listed one that is gone.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from e2e.calls import until
from e2e.differences import differences
from e2e.exchange import target_configs
from xds_client.model import Cluster, RouteMatch, Target, TargetConfig, TargetMissing

if TYPE_CHECKING:
    from e2e.conftest import Exchange, StartMesh

HERE = Path(__file__).parent
KNOWN = HERE / "same_target_config.toml"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    text: str
    targets: tuple[str, ...]
    auto_mtls: bool
    locality: str  # of the node that asks

    @classmethod
    def read(cls, path: Path) -> Self:
        targets: list[str] = []
        settings: dict[str, str] = {}
        for line in path.read_text().splitlines():
            if not line.startswith("#"):
                break
            key, colon, value = line.removeprefix("#").partition(": ")
            if key.strip() == "targets":
                targets += value.split()
            elif colon:
                settings[key.strip()] = value.strip()
        auto_mtls = settings.get("auto-mtls") == "true"
        return cls(path.stem, path.read_text(), tuple(targets), auto_mtls, settings.get("locality", ""))


CASES = [Case.read(path) for path in sorted((HERE / "same_target_config").glob("*.yaml"))]


def known_differences(case: str) -> dict[tuple[str, str], tuple[str, str]]:
    """(target, path) → (localmesh, istiod), as the table lists them for one case."""
    table = tomllib.loads(KNOWN.read_text())
    known = {}
    for entry in table.get("difference", []):
        assert entry["why"], f"{KNOWN.name}: {entry} does not say why"
        if entry["case"] == case:
            known[entry["target"], entry["path"]] = (entry["localmesh"], entry["istiod"])
    return known


def compared(config: TargetConfig | TargetMissing) -> TargetConfig | TargetMissing:
    """Without what istiod asks of Envoy's own connections (its metadata exchange, which localmesh does not serve), and
    with query parameters, all of which have to match, in one order: istiod writes a map in any.
    """
    if isinstance(config, TargetMissing):
        return config
    clusters = tuple(replace(one, cluster=_without_filters(one.cluster)) for one in config.clusters)
    routes = tuple(replace(route, match=_in_order(route.match)) for route in config.virtual_host.routes)
    return replace(config, clusters=clusters, virtual_host=replace(config.virtual_host, routes=routes))


def _without_filters(cluster: Cluster | None) -> Cluster | None:
    return cluster and replace(cluster, terms=replace(cluster.terms, filters=()))


def _in_order(match: RouteMatch) -> RouteMatch:
    return replace(match, query_parameters=tuple(sorted(match.query_parameters, key=attrgetter("name"))))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_yaml_same_target_config(start_mesh: StartMesh, exchange: Exchange, case: Case) -> None:
    assert case.targets, f"{case.name}.yaml has no line '# targets: ...'"
    told: dict[str, dict[str, Any]] = {}
    for kind in ("local", "istiod"):
        mesh = start_mesh({case.name: case.text}, kind=kind, auto_mtls=case.auto_mtls)
        configs = target_configs(exchange(mesh, locality=case.locality), case.targets)
        told[kind] = {target: compared(config) for target, config in configs.items()}
    found = {
        (target, path): said
        for target in case.targets
        for path, said in differences(told["local"][target], told["istiod"][target]).items()
    }
    known = known_differences(case.name)
    news = {key: said for key, said in found.items() if known.get(key) != said}
    gone = sorted(key for key in known if key not in found)
    if news:
        pytest.fail(f"{len(news)} differences that {KNOWN.name} does not list:\n{as_table(case.name, news)}")
    assert not gone, f"listed in {KNOWN.name} and gone, so take them out: {gone}"


def test_edits_lead_where_a_fresh_start_does(start_mesh: StartMesh, exchange: Exchange) -> None:
    """One stream is led through all cases by edits; after each it knows what a new stream to a new mesh is told."""
    cases = [case for case in CASES if not case.auto_mtls and not case.locality]
    edited = start_mesh({})
    exchanger = exchange(edited)
    targets = {target for case in cases for target in case.targets}
    told: dict[str, Any] = {}
    handles = [
        exchanger.observe_target(Target.parse(target), functools.partial(told.__setitem__, target))
        for target in targets
    ]
    for case in cases:
        fresh = start_mesh({"edited": case.text})
        expected = target_configs(exchange(fresh), case.targets)
        fresh.stop()
        edited.apply("edited", case.text)
        until(
            lambda expected=expected: all(told.get(target) == config for target, config in expected.items()),
            limit=5.0,
            what=f"the edit to {case.name}.yaml gives what a fresh start gives",
        )
    for handle in handles:
        handle.close()


def test_the_table_names_only_cases_that_exist() -> None:
    named = {entry["case"] for entry in tomllib.loads(KNOWN.read_text()).get("difference", [])}
    assert named <= {case.name for case in CASES}


def as_table(case: str, found: dict[tuple[str, str], tuple[str, str]]) -> str:
    """As same_target_config.toml would list them."""
    entries = []
    for (target, path), said in found.items():
        fields = {"case": case, "target": target, "path": path, "localmesh": said[0], "istiod": said[1], "why": ""}
        lines = (f"{key} = '{value}'" if "'" not in value else f'{key} = "{value}"' for key, value in fields.items())
        entries.append("\n".join(["[[difference]]", *lines, ""]))
    return "\n".join(entries)
