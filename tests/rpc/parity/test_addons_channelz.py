"""Channelz of our channels and servers, asked with grpcio-channelz's stub, in both worlds."""

from __future__ import annotations

import gc
import threading

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc

from rpc import channelz
from tests.rpc.peers import KINDS
from tests.rpc.script import READ, greet, greet_and_stay, request
from tests.rpc.tls.ends import until

READY = channelz_pb2.ChannelConnectivityState.READY


def obliging():
    asked = yield READ
    if asked.name == "bad":
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "no")
    yield greet(asked)


class Asked:
    """The servicer of the process, asked over a channel of grpcio's."""

    def __init__(self, address):
        self._channel = grpc.insecure_channel(address)
        self._stub = channelz_pb2_grpc.ChannelzStub(self._channel)

    def __getattr__(self, method):
        return lambda **fields: getattr(self._stub, method)(
            getattr(channelz_pb2, f"{method}Request")(**fields), timeout=30
        )

    def close(self):
        self._channel.close()


@pytest.fixture
def asked(our_world):
    """Ask, and the address of who is asked: one of our servers that also greets."""
    gc.collect()  # channels and servers of other tests
    port = our_world.start_server(obliging, adding=channelz.add_channelz_servicer)[1]
    asked = Asked(f"127.0.0.1:{port}")
    yield asked, f"127.0.0.1:{port}"
    asked.close()


def channel_to(asked, address):
    [found] = [one for one in asked.GetTopChannels().channel if one.data.target == address]
    return found


def test_a_channel_is_told_with_its_calls(our_world, asked):
    ask, address = asked
    client = our_world.connect(address)
    for kind in KINDS:
        assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    assert client.call("unary", request("bad")).code is grpc.StatusCode.NOT_FOUND
    until(lambda: channel_to(ask, address).data.calls_succeeded == 4)
    told = channel_to(ask, address)
    assert told.data.state.state == READY
    assert (told.data.calls_started, told.data.calls_succeeded, told.data.calls_failed) == (5, 4, 1)
    assert ask.GetChannel(channel_id=told.ref.channel_id).channel == told


def test_from_channel_to_socket(our_world, asked):
    ask, address = asked
    client = our_world.connect(address)
    assert client.call("bidi", request("a")).messages == ["Hello, a!"]
    [ref] = channel_to(ask, address).subchannel_ref
    subchannel = ask.GetSubchannel(subchannel_id=ref.subchannel_id).subchannel
    assert subchannel.ref.name == address
    assert subchannel.data.state.state == READY
    [socket_ref] = subchannel.socket_ref
    socket = ask.GetSocket(socket_id=socket_ref.socket_id).socket
    assert socket.remote.tcpip_address.ip_address == bytes([127, 0, 0, 1])
    assert socket.remote.tcpip_address.port == int(address.rpartition(":")[2])
    assert (socket.data.streams_started, socket.data.messages_sent, socket.data.messages_received) == (1, 1, 1)


def test_each_connection_to_an_endpoint_is_a_socket_of_its_subchannel(our_world, asked):
    ask, _ = asked
    over = threading.Event()
    address = our_world.serve(greet_and_stay(over), [("grpc.max_concurrent_streams", 2)])
    client = our_world.connect(address)
    calls = [client.begin("server_stream", request(str(number))) for number in range(5)]
    assert [call.read().message for call in calls] == [f"Hello, {number}!" for number in range(5)]
    [ref] = channel_to(ask, address).subchannel_ref
    subchannel = ask.GetSubchannel(subchannel_id=ref.subchannel_id).subchannel
    assert (subchannel.data.state.state, subchannel.data.calls_started) == (READY, 5)
    assert channel_to(ask, address).data.calls_started == 5
    sockets = [ask.GetSocket(socket_id=ref.socket_id).socket for ref in subchannel.socket_ref]
    assert [socket.data.streams_started for socket in sockets] == [2, 2, 1]
    assert len({socket.local.tcpip_address.port for socket in sockets}) == 3
    for call in calls:
        call.cancel()


def test_a_server_is_told_with_its_calls_and_sockets(our_world, asked):
    ask, address = asked
    client = our_world.connect(address)
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    assert client.call("unary", request("bad")).code is grpc.StatusCode.NOT_FOUND

    def mine():
        found = [one for one in ask.GetServers().server if one.data.calls_failed == 1 and one.data.calls_succeeded]
        return found and found[0]

    server = until(mine)
    assert ask.GetServer(server_id=server.ref.server_id).server.ref == server.ref
    sockets = ask.GetServerSockets(server_id=server.ref.server_id)
    assert sockets.end
    assert len(sockets.socket_ref) == 2  # who asks, and the client
    told = [ask.GetSocket(socket_id=ref.socket_id).socket for ref in sockets.socket_ref]
    assert (1, 1) in [(one.data.streams_succeeded, one.data.streams_failed) for one in told]
    assert {one.local.tcpip_address.port for one in told} == {int(address.rpartition(":")[2])}


def test_the_past_of_a_server_is_counted(our_world, asked):
    ask, address = asked
    client = our_world.connect(address)
    assert client.call("unary", request("bad")).code is grpc.StatusCode.NOT_FOUND
    client.close()

    def mine():
        return [one for one in ask.GetServers().server if one.data.calls_failed == 1]

    [server] = until(mine)
    until(lambda: len(ask.GetServerSockets(server_id=server.ref.server_id).socket_ref) == 1)
    assert mine()[0].data.calls_failed == 1


def test_where_a_server_listens(our_world, asked, tmp_path):
    ask, address = asked

    def of(name):
        return [ref for one in ask.GetServers().server for ref in one.listen_socket if ref.name == name]

    [ref] = of(f"ipv4:{address}")
    socket = ask.GetSocket(socket_id=ref.socket_id).socket
    assert socket.local.tcpip_address.ip_address == bytes([127, 0, 0, 1])
    assert socket.local.tcpip_address.port == int(address.rpartition(":")[2])
    assert not socket.HasField("remote")
    server, port = our_world.start_server(obliging, address="[::]:0")
    path = f"unix:{tmp_path}/socket"
    other, _ = our_world.start_server(obliging, address=path)
    [ref] = of(f"ipv6:%5B::%5D:{port}")
    assert ask.GetSocket(socket_id=ref.socket_id).socket.local.tcpip_address.ip_address == bytes(16)
    [ref] = of(path)
    assert ask.GetSocket(socket_id=ref.socket_id).socket.local.uds_address.filename == f"{tmp_path}/socket"
    for one in (server, other):
        stop(our_world, one)
    assert not of(path)


def stop(world, server):
    if world.kind == "aio":
        world.loop.run(server.stop(None))
    else:
        assert server.stop(None).wait(30)


def test_what_is_closed_or_has_stopped_is_not_told_whoever_holds_it(our_world, asked):
    """As in grpcio."""
    ask, address = asked
    client = our_world.connect(address)
    assert client.call("unary", request("Ann")).messages == ["Hello, Ann!"]
    number = channel_to(ask, address).ref.channel_id
    client.close()
    assert number not in [one.ref.channel_id for one in ask.GetTopChannels().channel]
    with pytest.raises(grpc.RpcError) as caught:
        ask.GetChannel(channel_id=number)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    before = [one.ref.server_id for one in ask.GetServers().server]
    server, _ = our_world.start_server(obliging)
    [number] = {one.ref.server_id for one in ask.GetServers().server} - set(before)
    stop(our_world, server)
    assert number not in [one.ref.server_id for one in ask.GetServers().server]


def test_pages(our_world, asked):
    ask, address = asked
    clients = [our_world.connect(address) for _ in range(5)]
    everything = ask.GetTopChannels()
    numbers = [one.ref.channel_id for one in everything.channel]
    assert len(numbers) >= len(clients)
    assert numbers == sorted(numbers)
    first = ask.GetTopChannels(max_results=2)
    assert [one.ref.channel_id for one in first.channel] == numbers[:2]
    assert not first.end
    rest = ask.GetTopChannels(start_channel_id=numbers[2])
    assert [one.ref.channel_id for one in rest.channel] == numbers[2:]
    assert rest.end


@pytest.mark.parametrize(
    ("method", "field"),
    [
        ("GetChannel", "channel_id"),
        ("GetSubchannel", "subchannel_id"),
        ("GetSocket", "socket_id"),
        ("GetServer", "server_id"),
        ("GetServerSockets", "server_id"),
    ],
)
def test_what_is_not_there_is_not_found(asked, method, field):
    with pytest.raises(grpc.RpcError) as caught:
        getattr(asked[0], method)(**{field: 2**40})
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
