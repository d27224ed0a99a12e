"""Which ALPN offer reaches what: raw TLS from `openssl s_client` to a real sidecar, and to a server of ours.

The table is what a real Envoy does with the chains that istiod gives it (that it does, is tested too); a server of ours
has the same chains. It is why a client of ours offers what it offers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.envoy.openssl import offer
from e2e.envoy.pods import DECLARED, TARGETS, TCP, UNDECLARED
from e2e.envoy.village import peer_authentication

if TYPE_CHECKING:
    from e2e.envoy.village import Village

pytestmark = pytest.mark.timeout(180)

# A sidecar's HTTP/2 calls, its TCP connections, what a careless client might take from its cluster, grpcio, nothing.
SIDECAR, SIDECAR_TCP, MIXED = "istio-h2,istio,h2", "istio-peer-exchange,istio", "istio-peer-exchange,istio,h2"
ISTIO, GRPCIO, NOTHING = "istio", "h2", ""

HTTP = "http"  # mTLS ends; calls are routed, authorised, counted
BYTES = "bytes"  # mTLS ends; bytes go to the workload past all that is known of calls
PASSED_ON = "passed on"  # the TLS itself goes to the workload, which has none
CLOSED = "closed"  # no filter chain

EVERYTHING = (SIDECAR, SIDECAR_TCP, MIXED, ISTIO, GRPCIO, NOTHING)
EXPECTED: dict[tuple[str, int], dict[str, str]] = {
    ("STRICT", DECLARED): dict.fromkeys(EVERYTHING, HTTP),
    ("STRICT", TCP): dict.fromkeys(EVERYTHING, BYTES),
    ("STRICT", UNDECLARED): dict.fromkeys(EVERYTHING, BYTES) | {SIDECAR: HTTP},
    ("PERMISSIVE", DECLARED): dict.fromkeys(EVERYTHING, HTTP) | {GRPCIO: CLOSED, NOTHING: CLOSED},
    ("PERMISSIVE", TCP): dict.fromkeys(EVERYTHING, BYTES) | {GRPCIO: PASSED_ON, NOTHING: PASSED_ON},
    ("PERMISSIVE", UNDECLARED): dict.fromkeys(EVERYTHING, BYTES)
    | {SIDECAR: HTTP, GRPCIO: PASSED_ON, NOTHING: PASSED_ON},
}
PORTS = {"declared": DECLARED, "tcp": TCP, "undeclared": UNDECLARED}


@pytest.fixture(scope="module", params=["STRICT", "PERMISSIVE"])
def mode(request: pytest.FixtureRequest, town: Village, server: str) -> str:
    town.apply(peer_authentication("all", request.param))
    town.settle(dict.fromkeys(PORTS.values(), request.param))
    return str(request.param)


@pytest.fixture(params=PORTS.values(), ids=list(PORTS))
def port(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=EVERYTHING, ids=[alpn or "nothing" for alpn in EVERYTHING])
def alpn(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def address(town: Village, server: str, port: int) -> str:
    return f"{town.pods[server].address}:{TARGETS[port]}"


def test_what_is_let_in(town: Village, server: str, mode: str, port: int, alpn: str) -> None:
    said = offer(town.pods["walker"], address(town, server, port), alpn)
    if EXPECTED[mode, port][alpn] in (CLOSED, PASSED_ON):
        assert not said.handshake, said.log
    else:
        assert said.handshake, said.log
        assert said.alpn == negotiated(town, server, EXPECTED[mode, port][alpn], alpn), said.log
        assert said.http2, said.log


def negotiated(town: Village, server: str, chain: str, offered: str) -> str:
    """HTTP/2 wherever it was offered, and no word of Istio's.

    But for one: a sidecar's chains for bytes prefer istio-peer-exchange, which starts Istio's own exchange of metadata.
    The istiod of these tests has that switched off, for want of the filter; localmesh says it as istiod otherwise does.
    A server of ours never chooses it: it is an HTTP/2 server in all of its chains.
    """
    offers = offered.split(",")
    if chain == BYTES and server == "shop" and town.mesh.kind == "local" and "istio-peer-exchange" in offers:
        return "istio-peer-exchange"
    return "h2" if "h2" in offers else ""


@pytest.mark.parametrize("server", ["shop"], indirect=True, ids=["to-envoy"])
def test_which_chain_takes_it(town: Village, server: str, mode: str, port: int, alpn: str) -> None:
    """By Envoy's own counters: its chains' names do not tell, their filters' statistics do."""
    sidecar = town.pods["shop"].sidecar
    assert sidecar is not None
    counters = {f"http.inbound_0.0.0.0_{TARGETS[port]};.downstream_cx_total": HTTP}
    counters |= {f"tcp.inbound|{TARGETS[port]}||.downstream_cx_total": BYTES}

    def count() -> dict[str, int]:
        counted = sidecar.counted(r"^(http|tcp)\.inbound.*downstream_cx_total$")
        return {chain: counted.get(name, 0) for name, chain in counters.items()}

    before = count()
    offer(town.pods["walker"], address(town, "shop", port), alpn)
    grown = {chain: 1 for chain, number in count().items() if number > before[chain]}
    expected = EXPECTED[mode, port][alpn]
    assert grown == {HTTP: {HTTP: 1}, BYTES: {BYTES: 1}, PASSED_ON: {BYTES: 1}, CLOSED: {}}[expected]


def test_nobody_is_let_in_without_a_certificate(town: Village, server: str, mode: str, port: int) -> None:
    said = offer(town.pods["walker"], address(town, server, port), SIDECAR, certificate=False)
    assert not said.http2, said.log
    assert "alert" in said.log, "the refusal is TLS's own, and says why"


@pytest.fixture(scope="module")
def disabled(town: Village, server: str) -> None:
    town.apply(peer_authentication("all", "DISABLE"))
    town.settle(dict.fromkeys(PORTS.values(), "DISABLE"))


def test_nobody_speaks_tls_where_it_is_disabled(
    town: Village, server: str, disabled: None, port: int, alpn: str
) -> None:
    said = offer(town.pods["walker"], address(town, server, port), alpn)
    assert not said.handshake, said.log
