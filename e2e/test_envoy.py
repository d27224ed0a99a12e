"""Calls through real Envoy sidecars that the control plane configures, and what each side knows of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e import yamls
from e2e.envoy.pods import DECLARED, UNDECLARED
from e2e.envoy.village import CALLERS, peer_authentication, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.envoy.village import Village

pytestmark = pytest.mark.timeout(180)  # the first test of each builds the village; a loaded machine takes its time

PORTS = {"declared": DECLARED, "undeclared": UNDECLARED}
MODES = ["STRICT", "PERMISSIVE"]


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, town: Village, server: str) -> str:
    town.apply(peer_authentication("all", request.param))
    town.settle(dict.fromkeys(PORTS.values(), request.param))
    return str(request.param)


@pytest.fixture(params=["envoy", "ours"], ids=["from-envoy", "from-ours"])
def caller(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PORTS.values(), ids=list(PORTS))
def port(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def test_the_server_is_told_who_calls(town: Village, caller: str, server: str, mode: str, port: int) -> None:
    answer = town.call(caller, server, port)
    assert answer.server == server, answer
    assert answer.identity == town.pods[CALLERS[caller]].identity


def test_envoy_says_both_ends_of_the_connection(town: Village, caller: str, mode: str, port: int) -> None:
    """XFCC is Envoy's word: the certificate that it showed itself, and the one that it was shown."""
    seen = town.call(caller, "shop", port).seen["xfcc"]
    assert f"By={town.pods['shop'].identity};" in seen
    assert seen.endswith(f"URI={town.pods[CALLERS[caller]].identity}")


def only(host: str, identity: str) -> dict[str, Any]:
    """Callers accept no other server."""
    return yamls.destination_rule(host, [], tls={"mode": "ISTIO_MUTUAL", "subjectAltNames": [identity]})


@pytest.fixture
def expecting(town: Village, mode: str) -> Iterator[Any]:
    def expect(server: str, identity: str) -> None:
        town.apply(peer_authentication("all", mode), only(server, identity))

    yield expect
    town.apply(peer_authentication("all", mode))


def test_a_server_of_another_identity_is_refused(
    town: Village, expecting: Any, caller: str, server: str, port: int
) -> None:
    """The DestinationRule wants an identity that the server cannot show; then the one that it has."""
    assert town.call(caller, server, port).accepted
    expecting(server, "spiffe://cluster.local/ns/demo/sa/somebody-else")
    until(lambda: town.call(caller, server, port).code, "UNAVAILABLE", "calls to somebody else", 20.0)
    for _ in range(3):
        answer = town.call(caller, server, port)
        assert answer.code == "UNAVAILABLE", answer
    sidecar = town.pods[CALLERS[caller]].sidecar
    if sidecar is None:
        assert "somebody-else" in answer.details, "the error names the identity that was wanted"
        assert town.pods[server].identity in answer.details, "and the one that was shown"
    else:
        assert any(sidecar.counted(f"{port}.*{server}.*ssl.fail_verify_san").values()), "Envoy had another reason"
    expecting(server, town.pods[server].identity)
    until(lambda: town.call(caller, server, port).accepted, True, "calls to the right one", 20.0)


def test_envoy_took_all_that_the_control_plane_sent(town: Village, mode: str) -> None:
    for pod in town.pods.values():
        if pod.sidecar is not None:
            assert pod.sidecar.refused() == []
