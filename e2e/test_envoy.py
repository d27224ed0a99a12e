"""Calls through real Envoy sidecars that the control plane configures, and what each side knows of the other.

``shop`` is a grpcio server behind Envoy, ``web`` one of ours without; ``bff`` is a grpcio client behind Envoy,
``walker`` a client of ours without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e import yamls
from e2e.envoy.pods import DECLARED, UNDECLARED
from e2e.envoy.village import peer_authentication, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.envoy.pods import Answer
    from e2e.envoy.village import Village

PORTS = {"declared": DECLARED, "undeclared": UNDECLARED}
MODES = ["STRICT", "PERMISSIVE"]
CALLERS = {"envoy": "bff", "ours": "walker"}
SERVERS = {"envoy": "shop", "ours": "web"}


@pytest.fixture(scope="module")
def town(village: Village) -> Village:
    for name in ("shop", "bff"):
        village.add(name, sidecar=True)
    for name in ("web", "walker"):
        village.add(name)
    village.start()
    village.pods["shop"].serve("grpcio")
    for name in CALLERS.values():
        village.pods[name].be_caller()
    return village


@pytest.fixture(scope="module", params=SERVERS.values(), ids=[f"to-{name}" for name in SERVERS])
def server(request: pytest.FixtureRequest, town: Village) -> str:
    if request.param == "web" and not town.pods["web"].serves:
        town.pods["web"].serve("rpc")
    return str(request.param)


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest, town: Village, server: str) -> str:
    town.apply(peer_authentication("all", request.param))
    town.settle(dict.fromkeys(PORTS.values(), request.param))
    return str(request.param)


@pytest.fixture(params=CALLERS.values(), ids=[f"from-{name}" for name in CALLERS])
def caller(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PORTS.values(), ids=list(PORTS))
def port(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def call(town: Village, caller: str, server: str, port: int) -> Answer:
    """As a program in that pod would: behind Envoy to the service's virtual address, with ours by its name."""
    if town.pods[caller].sidecar is not None:
        return town.pods[caller].call("grpcio", f"{town.virtual_address(server)}:{port}")
    return town.pods[caller].call("ours", f"xds:///{yamls.fqdn(server)}:{port}")


def test_the_server_is_told_who_calls(town: Village, caller: str, server: str, mode: str, port: int) -> None:
    answer = call(town, caller, server, port)
    assert answer.server == server, answer
    assert answer.identity == town.pods[caller].identity


def test_envoy_says_both_ends_of_the_connection(town: Village, caller: str, mode: str, port: int) -> None:
    """XFCC is Envoy's word: the certificate that it showed itself, and the one that it was shown."""
    seen = call(town, caller, "shop", port).seen["xfcc"]
    assert f"By={town.pods['shop'].identity};" in seen
    assert seen.endswith(f"URI={town.pods[caller].identity}")


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
    assert call(town, caller, server, port).accepted
    expecting(server, "spiffe://cluster.local/ns/demo/sa/somebody-else")
    until(lambda: call(town, caller, server, port).code, "UNAVAILABLE", "calls to somebody else", 20.0)
    for _ in range(3):
        answer = call(town, caller, server, port)
        assert answer.code == "UNAVAILABLE", answer
    sidecar = town.pods[caller].sidecar
    if sidecar is None:
        assert "somebody-else" in answer.details, "the error names the identity that was wanted"
        assert town.pods[server].identity in answer.details, "and the one that was shown"
    else:
        assert any(sidecar.counted(f"{port}.*{server}.*ssl.fail_verify_san").values()), "Envoy had another reason"
    expecting(server, town.pods[server].identity)
    until(lambda: call(town, caller, server, port).accepted, True, "calls to the right one", 20.0)


def test_envoy_took_all_that_the_control_plane_sent(town: Village, mode: str) -> None:
    for pod in town.pods.values():
        if pod.sidecar is not None:
            assert pod.sidecar.refused() == []
