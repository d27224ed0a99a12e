"""A port that wants TLS and is called in plaintext: the failure says what to set, on both makes of servers."""

from __future__ import annotations

import pytest

from tests.rpc.peers import World
from tests.rpc.tls.certificates import Authority
from tests.rpc.tls.ends import refused
from tests.rpc.tls.test_parity import serve


@pytest.mark.parametrize("server", ["ours", "grpcio"])
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_plaintext_to_a_tls_port_says_which_setting(kind, server):
    world = World(kind, "ours", server)
    leaf = Authority().issue(dns=("localhost",))
    try:
        address = serve(world, leaf)
        refused(world.connect(address), "in plaintext", "rpc.secure_channel", "PeerAuthentication")
    finally:
        world.close()
