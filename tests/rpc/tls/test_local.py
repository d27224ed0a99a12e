"""Credentials without TLS, on every pairing: `local_…_credentials` vouch for this machine, `insecure_…` for nobody."""

from __future__ import annotations

import grpc
import pytest

import rpc
from tests.rpc.peers import KINDS
from tests.rpc.script import READ, greet, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.ends import hello, refused, tell_peer

TCP, UDS = grpc.LocalConnectionType.LOCAL_TCP, grpc.LocalConnectionType.UDS
TYPE, LEVEL = "transport_security_type", "security_level"


def maker(make):
    return rpc if make == "ours" else grpc


def serve(world, address="127.0.0.1:0", kind=TCP, script=polite):
    """Start a server that knows its peers for local; returns where it is."""
    credentials = maker(world.server_make).local_server_credentials(kind)
    port = world.start_server(script, address=address, credentials=credentials)[1]
    return address if address.startswith("unix") else f"127.0.0.1:{port}"


def connect(world, address, kind=TCP):
    return world.connect(address, credentials=maker(world.client_make).local_channel_credentials(kind))


@pytest.fixture(params=["127.0.0.1:0", "[::1]:0", "unix"])
def place(request, tmp_path):
    """Where a server may listen, and by what its clients are local."""
    return (f"unix:{tmp_path}/local.sock", UDS) if request.param == "unix" else (request.param, TCP)


def test_both_ends_are_local_to_each_other(world, place):
    address, kind = place
    seen = []
    credentials = maker(world.server_make).local_server_credentials(kind)
    port = world.start_server(tell_peer(seen), address=address, credentials=credentials)[1]
    caller = connect(world, address if kind is UDS else f"{address.rpartition(':')[0]}:{port}", kind)
    for each in KINDS:
        assert caller.call(each, asked("Ann")).messages == ["Hello, Ann!"]
    assert seen[0] == ({TYPE: [b"local"], LEVEL: [b"TSI_PRIVACY_AND_INTEGRITY"]}, [b"local"], TYPE)


def test_local_connections_carry_call_credentials(world):
    said = []

    def who():
        pairs = yield lambda context: context.invocation_metadata()
        said.extend(value for key, value in pairs if key == "authorization")
        yield greet((yield READ))

    caller = connect(world, serve(world, script=who))
    assert caller.call("unary", asked(), credentials=grpc.access_token_call_credentials("secret")).code.name == "OK"
    assert said == ["Bearer secret"]


def test_a_local_server_is_plaintext_for_others_of_this_machine(world):
    hello(world.connect(serve(world)))


def test_a_unix_domain_is_no_loopback_address(world, tmp_path):
    world.start_server(polite, address=f"unix:{tmp_path}/plain.sock")
    refused(connect(world, f"unix:{tmp_path}/plain.sock", TCP), "Endpoint is neither UDS or TCP loopback address.")


def test_a_loopback_address_is_no_unix_domain(world):
    refused(connect(world, world.serve(polite), UDS))


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_local_credentials_do_not_listen_where_others_are(our_world, address):
    with pytest.raises(RuntimeError, match="loopback"):
        serve(our_world, address)


def test_what_is_no_kind_of_local_connection_is_refused():
    with pytest.raises(ValueError, match="tcp"):
        rpc.local_channel_credentials("tcp")


def test_insecure_credentials_make_an_insecure_port(world):
    seen = []
    credentials = maker(world.server_make).insecure_server_credentials()
    hello(world.connect(world.serve(tell_peer(seen), credentials=credentials)))
    assert seen == [({TYPE: [b"insecure"], LEVEL: [b"TSI_SECURITY_NONE"]}, None, None)]
