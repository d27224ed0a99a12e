"""Who may call whom under PeerAuthentication: Istio's table, on a real Envoy sidecar and on a server of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from e2e import yamls
from e2e.envoy.pods import DECLARED, UNDECLARED
from e2e.envoy.village import peer_authentication, until

if TYPE_CHECKING:
    from e2e.envoy.village import Village

pytestmark = pytest.mark.timeout(180)  # the first test of each builds the village; a loaded machine takes its time

REFUSED, ANONYMOUS = "refused", "anonymous"

# What a port in this mode makes of each caller: refused, let in as nobody in particular, or by its identity.
# https://istio.io/latest/docs/reference/config/security/peer_authentication/ for the first three rows;
# https://istio.io/latest/docs/concepts/security/#permissive-mode, and auto mTLS, for who sends what.
EXPECTED = {
    "STRICT": {
        "ours": "walker",
        "envoy": "bff",
        "grpcio-xds": "xds",
        "ours-plain": REFUSED,
        "grpcio": REFUSED,
    },
    "PERMISSIVE": {
        "ours": "walker",
        "envoy": "bff",
        # It offers h2 only. A PERMISSIVE port tells mTLS of the mesh by the ALPN istio…; without, nobody ends its TLS.
        "grpcio-xds": REFUSED,
        "ours-plain": ANONYMOUS,
        "grpcio": ANONYMOUS,
    },
    "DISABLE": {
        "ours": ANONYMOUS,  # auto mTLS: the mesh tells clients to send plaintext
        "envoy": ANONYMOUS,
        "grpcio-xds": REFUSED,  # it has no auto mTLS: its DestinationRule says ISTIO_MUTUAL
        "ours-plain": ANONYMOUS,
        "grpcio": ANONYMOUS,
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """``policies`` and the modes that they put the server's ports in; ``other``: who fares otherwise."""

    policies: tuple[dict[str, Any], ...]
    declared: str
    undeclared: str
    other: dict[str, str] = field(default_factory=dict)


def everywhere(mode: str, *policies: dict[str, Any]) -> Case:
    return Case(policies, mode, mode)


def mesh_wide(mode: str) -> dict[str, Any]:
    policy = peer_authentication("default", mode)
    policy["metadata"]["namespace"] = "istio-system"
    return policy


def on_port(mode: str) -> tuple[dict[str, Any], ...]:
    """For the declared port of either server; the rest of the workload inherits."""
    return tuple(peer_authentication(app, None, app, p19080=mode) for app in ("shop", "web"))


def on_workloads(mode: str) -> tuple[dict[str, Any], ...]:
    return tuple(peer_authentication(app, mode, app) for app in ("shop", "web"))


STRICT_NAMESPACE = peer_authentication("all", "STRICT")
CASES = {
    "none": everywhere("PERMISSIVE"),
    "STRICT": everywhere("STRICT", STRICT_NAMESPACE),
    "PERMISSIVE": everywhere("PERMISSIVE", peer_authentication("all", "PERMISSIVE")),
    "DISABLE": everywhere("DISABLE", peer_authentication("all", "DISABLE")),
    "port-PERMISSIVE": Case((STRICT_NAMESPACE, *on_port("PERMISSIVE")), "PERMISSIVE", "STRICT"),
    "port-DISABLE": Case((STRICT_NAMESPACE, *on_port("DISABLE")), "DISABLE", "STRICT"),
    # Auto mTLS looks at the namespace's mode before it looks at any workload's (BestEffortInferServiceMTLSMode): where
    # that is DISABLE, everybody without a DestinationRule sends plaintext, even to a port that is STRICT.
    "port-STRICT": Case(
        (peer_authentication("all", "DISABLE"), *on_port("STRICT")),
        "STRICT",
        "DISABLE",
        {"ours": REFUSED, "envoy": REFUSED},
    ),
    "mesh-STRICT": everywhere("STRICT", mesh_wide("STRICT")),
    "namespace-over-mesh": everywhere("DISABLE", mesh_wide("STRICT"), peer_authentication("all", "DISABLE")),
    "workload-over-namespace": everywhere("PERMISSIVE", STRICT_NAMESPACE, *on_workloads("PERMISSIVE")),
}


def mutual_for_grpc_xds(host: str) -> dict[str, Any]:
    """What Istio's documentation tells users of grpc's own xDS to write, for these clients alone."""
    rule = yamls.destination_rule(host, [], tls={"mode": "ISTIO_MUTUAL"})
    rule["metadata"]["name"] = f"{host}-for-grpc-xds"
    rule["spec"]["workloadSelector"] = {"matchLabels": {"app": "xds"}}
    return rule


def one_call_per_connection(host: str) -> dict[str, Any]:
    """So that what a sidecar's call meets is the mode of now, and not a connection of before."""
    return yamls.destination_rule(host, [], connectionPool={"http": {"maxRequestsPerConnection": 1}})


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest, town: Village, server: str) -> Case:
    case: Case = request.param
    rules = [one_call_per_connection(name) for name in ("shop", "web")]
    if town.mesh.kind == "istiod":
        rules += [mutual_for_grpc_xds(name) for name in ("shop", "web")]
    town.apply(*case.policies, *rules)
    town.settle({DECLARED: case.declared, UNDECLARED: case.undeclared})
    return case


def outcome(town: Village, kind: str, server: str, port: int) -> str:
    answer = town.call(kind, server, port)
    if not answer.accepted:
        return REFUSED if answer.code == "UNAVAILABLE" else f"{answer.code}: {answer.details}"
    known = {pod.identity: name for name, pod in town.pods.items()} | {"": ANONYMOUS}
    return known.get(answer.identity, answer.identity)


def test_who_is_let_in(town: Village, server: str, case: Case) -> None:
    expected = EXPECTED[case.declared] | case.other
    if town.mesh.kind != "istiod":
        del expected["grpcio-xds"]  # localmesh serves sidecar resources only, and says so
    check(town, server, DECLARED, expected)


def test_who_is_let_in_where_the_protocol_is_not_declared(town: Village, server: str, case: Case) -> None:
    """Without grpcio's own xDS: see test_alpn.py for where what it offers leads to here."""
    expected = {kind: who for kind, who in EXPECTED[case.undeclared].items() if kind != "grpcio-xds"}
    check(town, server, UNDECLARED, expected)


def check(town: Village, server: str, port: int, expected: dict[str, str]) -> None:
    """The server has the mode already; clients may still be about to hear how it wants to be called."""

    def outcomes() -> dict[str, str]:
        return {kind: outcome(town, kind, server, port) for kind in expected}

    until(outcomes, expected, f"who calls {server}:{port}", 20.0)
    assert outcomes() == expected, "and it stays so"
