"""The same PeerAuthentication gives the same inbound listener from localmesh and from the real istiod.

Field by field, but for the order of chains: Envoy's rules choose by what chains say, never by their order, and istiod's
own order of undeclared ports changes from run to run (it walks a Go map).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from e2e.differences import differences
from e2e.inbound_cases import CASES, Case
from e2e.test_inbound import inbound

if TYPE_CHECKING:
    from e2e.conftest import StartMesh
    from xds_client.model import FilterChain, Listener

# What stands in chains besides the choice of TLS is compared by test_same_resources.py; metadata exchange and
# statistics only have a meaning for Envoys.
NOT_COMPARED = {"network_filters": (), "http_filters": (), "packed_http": None}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_policies_same_listener(start_mesh: StartMesh, case: Case) -> None:
    local, istiod = (
        comparable(inbound(start_mesh({"policies": case.text}, kind=kind))) for kind in ("local", "istiod")
    )
    assert not differences(local, istiod)


def comparable(listener: Listener) -> Listener:
    def key(chain: FilterChain) -> tuple[str, int, str, tuple[str, ...]]:
        match = chain.match
        return (chain.name, match.destination_port or 0, match.transport_protocol, match.application_protocols)

    def seen(chain: FilterChain) -> FilterChain:
        # The reason counts filters, those that are not compared among them.
        return replace(chain, unusable=re.sub(r"filters\[\d+\]", "filters[]", chain.unusable), **NOT_COMPARED)

    chains = (seen(chain) for chain in listener.filter_chains)
    return replace(listener, filter_chains=tuple(sorted(chains, key=key)))
