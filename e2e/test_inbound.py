"""What PeerAuthentication makes of a node's ports, as the control plane says it and we read it."""

from __future__ import annotations

import queue
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e import yamls
from e2e.calls import until
from e2e.exchange import NODE
from e2e.inbound_cases import (
    AUTO,
    CASES,
    CHAINS,
    DISABLE,
    GRPC,
    IP,
    KINDS,
    LABELS,
    OTHER_UNDECLARED,
    PERMISSIVE,
    ROOT_NAMESPACE,
    STRICT,
    TCP,
    UNDECLARED,
    Case,
    peer_authentication,
    seen,
    service,
)
from xds_client.bootstrap import Bootstrap
from xds_client.exchanger import PilotExchanger
from xds_client.inbound import chains_for_port, match_chain
from xds_client.model import DownstreamTls, Listener, MeshSecret, StringMatch, StringMatchKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.conftest import StartMesh
    from e2e.mesh import Mesh

SERVER = replace(NODE, ip=IP, pod="shop-1", labels=LABELS)


@pytest.fixture
def opened() -> Iterator[list[PilotExchanger]]:
    """Exchangers to be closed at the end."""
    exchangers: list[PilotExchanger] = []
    yield exchangers
    for exchanger in exchangers:
        exchanger.close()


def inbound(mesh: Mesh) -> Listener:
    with closing(PilotExchanger(Bootstrap(SERVER, mesh.address, "plaintext"))) as exchanger:
        return exchanger.get_inbound(timeout=10.0)


def trusting(*domains: str) -> tuple[StringMatch, ...]:
    return tuple(StringMatch(StringMatchKind.PREFIX, f"spiffe://{domain}/") for domain in domains)


def test_every_case_gives_every_port_its_chains(start_mesh: StartMesh, opened: list[PilotExchanger]) -> None:
    """One control plane and one stream, led through all cases by edits: policies change live."""
    mesh = start_mesh({"policies": CASES[0].text})
    exchanger = PilotExchanger(Bootstrap(SERVER, mesh.address, "plaintext"))
    opened.append(exchanger)
    told: list[Listener] = []
    exchanger.observe_inbound(lambda news: told.append(news) if isinstance(news, Listener) else None)
    for case in CASES:
        mesh.apply("policies", case.text)
        until(
            lambda case=case: told and not wrong(case, told[-1]),
            limit=10.0,
            what=f"the ports are as {case.name} says; wrong are {wrong(case, told[-1]) if told else 'all'}",
        )


def wrong(case: Case, listener: Listener) -> dict[int, str]:
    """Ports whose chains are not those of the mode that the case means for them."""
    ports = (GRPC, TCP, AUTO, UNDECLARED, OTHER_UNDECLARED)
    return {
        port: case.mode_of(port)
        for port in ports
        if seen(chains_for_port(listener, port).chains) != CHAINS[KINDS[port], case.mode_of(port)]
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fresh_start_gives_the_same(start_mesh: StartMesh, case: Case) -> None:
    listener = inbound(start_mesh({"policies": case.text}))
    assert not wrong(case, listener)


def test_what_mtls_demands_of_callers(start_mesh: StartMesh) -> None:
    policy = peer_authentication("namespace", STRICT)
    listener = inbound(start_mesh({"policies": yamls.documents(*service(), policy)}))
    http = DownstreamTls(
        alpn=("h2", "http/1.1"),
        certificate=MeshSecret(),
        roots=MeshSecret(),
        require_client_certificate=True,
        subject_alt_names=trusting("cluster.local"),
    )
    tcp = replace(http, alpn=("istio-peer-exchange", "h2", "http/1.1"))
    for port, expected in ((GRPC, [http]), (TCP, [tcp]), (AUTO, [http, tcp]), (UNDECLARED, [http, tcp])):
        chains = chains_for_port(listener, port).chains
        assert [chain.tls for chain in chains] == expected
        assert not any(chain.unusable for chain in chains)


def test_trust_domain_aliases_are_trusted_too(start_mesh: StartMesh) -> None:
    mesh = start_mesh({"policies": yamls.documents(*service(), peer_authentication("namespace", STRICT))})
    mesh.stop()
    mesh.mesh_config.write_text(mesh.mesh_config.read_text() + "trustDomainAliases: [old.example.org]\n")
    mesh.start()
    [chain] = chains_for_port(inbound(mesh), GRPC).chains
    assert chain.tls is not None
    assert set(chain.tls.subject_alt_names) == set(trusting("cluster.local", "old.example.org"))


@pytest.mark.parametrize("mode", [STRICT, PERMISSIVE, DISABLE])
def test_where_inspectors_look(start_mesh: StartMesh, mode: str) -> None:
    """Where nobody looks for TLS, a TLS handshake is just bytes for the plaintext chain."""
    listener = inbound(start_mesh({"policies": yamls.documents(*service(), peer_authentication("all", mode))}))
    for port in (GRPC, TCP, AUTO, UNDECLARED):
        chains = chains_for_port(listener, port)
        assert chains.inspects_tls or not any(c.transport_protocol == "tls" for c in seen(chains.chains))
        plain_http = any("h2c" in c.application_protocols for c in seen(chains.chains))
        assert chains.inspects_http or not plain_http


# (port, transport, offered ALPN) → (mTLS?, kind) or None for refused; what a caller meets under each mode.
SIDECAR_HTTP = ("istio-h2", "istio", "h2")
CALLERS = {
    "sidecar": ("tls", SIDECAR_HTTP),
    "grpcio-mtls": ("tls", ("h2",)),
    "plaintext": ("raw_buffer", ("h2c",)),
}
MEETS = {
    (STRICT, GRPC): {"sidecar": "mtls http", "grpcio-mtls": "mtls http", "plaintext": None},
    (PERMISSIVE, GRPC): {"sidecar": "mtls http", "grpcio-mtls": None, "plaintext": "plain http"},
    (DISABLE, GRPC): {"sidecar": None, "grpcio-mtls": None, "plaintext": "plain http"},
    (STRICT, UNDECLARED): {"sidecar": "mtls http", "grpcio-mtls": "mtls tcp", "plaintext": None},
    (PERMISSIVE, UNDECLARED): {"sidecar": "mtls http", "grpcio-mtls": "plain tcp", "plaintext": "plain http"},
    (DISABLE, UNDECLARED): {"sidecar": None, "grpcio-mtls": None, "plaintext": "plain http"},
}


@pytest.mark.parametrize("mode", [STRICT, PERMISSIVE, DISABLE])
def test_which_chain_takes_whom(start_mesh: StartMesh, mode: str) -> None:
    listener = inbound(start_mesh({"policies": yamls.documents(*service(), peer_authentication("all", mode))}))
    for port in (GRPC, UNDECLARED):
        for caller, (transport, offered) in CALLERS.items():
            chain = match_chain(
                listener,
                destination_port=port,
                transport_protocol=transport,
                application_protocols=offered,
                server_name="outbound_.9080_._.shop.demo.svc.cluster.local" if transport == "tls" else "",
                source_ip="10.0.0.9",
                destination_ip=IP,
            )
            met = chain and f"{'mtls' if chain.tls else 'plain'} {chain.kind.value}"
            assert met == MEETS[mode, port][caller], (port, caller)


def test_listeners_are_not_asked_for_by_mere_callers(start_mesh: StartMesh, opened: list[PilotExchanger]) -> None:
    mesh = start_mesh({"services": yamls.documents(*service())})
    exchanger = PilotExchanger(Bootstrap(SERVER, mesh.address, "plaintext"))
    opened.append(exchanger)
    until(lambda: exchanger.status().connected, limit=10.0, what="connected")
    wanted = exchanger.status().wanted
    assert not any(kind.name == "LISTENER" for kind in wanted)
    told: queue.SimpleQueue[object] = queue.SimpleQueue()
    with exchanger.observe_inbound(told.put):
        assert isinstance(told.get(timeout=10.0), Listener)


def test_policies_of_the_root_namespace_are_those_of_the_mesh(start_mesh: StartMesh) -> None:
    """Edits that do not touch this node's ports are not news to its servers."""
    mesh = start_mesh({"policies": CASES[0].text})
    with closing(PilotExchanger(Bootstrap(SERVER, mesh.address, "plaintext"))) as exchanger:
        told: list[object] = []
        exchanger.observe_inbound(told.append)
        until(lambda: len(told) == 1, limit=10.0, what="the first listener")
        mesh.apply("elsewhere", yamls.documents(peer_authentication("elsewhere", STRICT, "elsewhere")))
        mesh.apply("root", yamls.documents(peer_authentication("mesh", STRICT, ROOT_NAMESPACE)))
        until(lambda: len(told) > 1, limit=10.0, what="mesh-wide STRICT arrives")
        listener = told[1]
        assert isinstance(listener, Listener)
        assert seen(chains_for_port(listener, GRPC).chains) == CHAINS["http", STRICT]
