"""Who may call what under AuthorizationPolicy: one table, on a real Envoy sidecar and on servers of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.authorization import actions, cases, claims, conditions, heads, identities, operations, paths, sources, tcp
from e2e.authorization.rig import ENVOY, SERVERS, Guarded

if TYPE_CHECKING:
    from e2e.authorization.cases import Policies
    from e2e.envoy.village import Village

TABLE = [
    policies
    for module in (sources, operations, conditions, actions, tcp, claims, paths, heads, identities)
    for policies in module.TABLE
]

NOT_OF_LOCALMESH = {"EnvoyFilter"}

PROMPT = True
pytestmark = pytest.mark.timeout(180)  # the first test builds the village; a loaded machine takes its time


@pytest.fixture(scope="module")
def guarded(village: Village, tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    return Guarded(village, tmp_path_factory.mktemp("callers"))


@pytest.fixture(scope="module", params=TABLE, ids=str)
def policies(request: pytest.FixtureRequest, guarded: Guarded) -> Policies:
    policies: Policies = request.param
    if guarded.village.mesh.kind == "local":
        unknown = {document["kind"] for document in policies.documents} & NOT_OF_LOCALMESH
        if unknown:
            pytest.skip(f"localmesh has no {unknown.pop()}")
    guarded.apply(policies)
    return policies


@pytest.mark.parametrize("server", SERVERS)
def test_who_may_call_what(guarded: Guarded, policies: Policies, server: str) -> None:
    assert not guarded.differences(server, policies)


@pytest.mark.parametrize("server", SERVERS)
def test_how_a_refusal_reads(guarded: Guarded, server: str) -> None:
    """To a caller of gRPC's, and to any other, whom servers of ours do not understand."""
    nothing = cases.policies("nothing", "", [cases.allow(name="nothing")], cases.refused("gRPC"))
    guarded.apply(nothing)
    assert not guarded.differences(server, nothing)
    to_grpc = guarded.ask(server, nothing.cases[0])
    assert (to_grpc.head[":status"], to_grpc.head["grpc-status"]) == ("200", "7")
    assert to_grpc.head["grpc-message"] == "RBAC: access denied"
    to_others = guarded.ask(server, cases.refused("HTTP", content_type="text/plain"))
    if server == ENVOY:
        assert (to_others.head[":status"], to_others.body) == ("403", b"RBAC: access denied")
    else:
        assert to_others.head[":status"] == "415"


def test_the_sidecar_took_all_that_the_control_plane_sent(guarded: Guarded) -> None:
    sidecar = guarded.village.pods[ENVOY].sidecar
    assert sidecar is not None
    assert sidecar.refused() == []
