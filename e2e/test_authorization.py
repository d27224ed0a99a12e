"""Who may call what under AuthorizationPolicy: one table, on a real Envoy sidecar and on servers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.authorization import actions, claims, conditions, heads, identities, operations, paths, sources, tcp
from e2e.authorization.rig import ENVOY, Guarded

if TYPE_CHECKING:
    from e2e.authorization.cases import Policies
    from e2e.envoy.village import Village

TABLE = [
    case
    for module in (sources, operations, conditions, actions, tcp, claims, paths, heads, identities)
    for case in module.TABLE
]

pytestmark = pytest.mark.timeout(180)  # the first test builds the village; a loaded machine takes its time


@pytest.fixture(scope="module")
def guarded(village: Village, tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    if village.mesh.kind != "istiod":
        pytest.skip("localmesh does not compile AuthorizationPolicy")
    return Guarded(village, tmp_path_factory.mktemp("callers"))


@pytest.fixture(scope="module", params=TABLE, ids=str)
def policies(request: pytest.FixtureRequest, guarded: Guarded) -> Policies:
    guarded.apply(request.param)
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("server", [ENVOY])
def test_who_may_call_what(guarded: Guarded, policies: Policies, server: str) -> None:
    assert not guarded.differences(server, policies)


def test_the_sidecar_took_all_that_the_control_plane_sent(guarded: Guarded) -> None:
    sidecar = guarded.village.pods[ENVOY].sidecar
    assert sidecar is not None
    assert sidecar.refused() == []
