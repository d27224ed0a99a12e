"""Ports are added before a server is started; afterwards each way to add one is refused alike, in both worlds."""

from __future__ import annotations

import pytest

import rpc
from tests.rpc.script import polite, request


def test_a_port_that_is_added_after_the_start_is_refused(our_world):
    server, port = our_world.start_server(polite)
    credentials = rpc.insecure_server_credentials()
    adding = [
        server.add_insecure_port,
        server.add_probe_port,
        lambda address: server.add_secure_port(address, credentials),
    ]

    def are_refused():
        for add in adding:
            with pytest.raises(ValueError, match="ports are added before the server is started"):
                add("127.0.0.1:0")

    are_refused()
    assert our_world.connect(f"127.0.0.1:{port}").call("unary", request("Ann")).messages == ["Hello, Ann!"]
    our_world.stop(server)
    are_refused()
