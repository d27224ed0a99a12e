"""Channelz on our engine: what `grpc_channelz` tells of grpcio, told of our channels and servers (gRFC A14).

    from rpc import channelz
    channelz.add_channelz_servicer(server)     # of threads or of asyncio

Needs the extra ``channelz`` (grpcio-channelz), whose messages it speaks. A subchannel is what there is to one endpoint,
its sockets the transports; a server's connections are its sockets, and where it accepts its listening ones. What
was carried by endpoints that left the configuration is no part of a channel's sums.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc

from rpc import channelz_registry

try:
    from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc  # type: ignore[import-untyped]  # has none
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("grpc_channelz"):
        raise
    reason = "rpc.channelz needs grpcio-channelz: pip install 'proxyless[channelz]'"
    raise ModuleNotFoundError(reason, name=error.name) from None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rpc._native import Tally

_PAGE = 100  # as C-core has it
_STATES = channelz_pb2.ChannelConnectivityState.State
_TOKEN_BITS = 32  # a server's socket: the server's number and the engine's


class ChannelzServicer(channelz_pb2_grpc.ChannelzServicer):  # type: ignore[misc]  # generated without types
    """`grpc.channelz.v1.Channelz`. Stateless; any thread."""

    def GetTopChannels(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire's name
        del context
        page, end = _page(channelz_registry.channels.items(), request.start_channel_id, request.max_results)
        return channelz_pb2.GetTopChannelsResponse(channel=[_channel(number, core) for number, core in page], end=end)

    def GetServers(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        del context
        page, end = _page(channelz_registry.servers.items(), request.start_server_id, request.max_results)
        return channelz_pb2.GetServersResponse(server=[_server(number, server) for number, server in page], end=end)

    def GetServer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        server = channelz_registry.servers.get(request.server_id)
        if server is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no server {request.server_id}")
        return channelz_pb2.GetServerResponse(server=_server(request.server_id, server))

    def GetServerSockets(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        server = channelz_registry.servers.get(request.server_id)
        if server is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no server {request.server_id}")
        sockets = ((_socket_id(request.server_id, token), peer) for token, peer, _, _ in server.sockets())
        page, end = _page(sockets, request.start_socket_id, request.max_results)
        refs = [channelz_pb2.SocketRef(socket_id=socket, name=peer) for socket, peer in page]
        return channelz_pb2.GetServerSocketsResponse(socket_ref=refs, end=end)

    def GetChannel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        core = channelz_registry.channels.get(request.channel_id)
        if core is None:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no channel {request.channel_id}")
        return channelz_pb2.GetChannelResponse(channel=_channel(request.channel_id, core))

    def GetSubchannel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        for subchannel in _subchannels():
            if subchannel.number == request.subchannel_id:
                return channelz_pb2.GetSubchannelResponse(subchannel=_subchannel(subchannel))
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no subchannel {request.subchannel_id}")
        raise AssertionError  # abort raises

    def GetSocket(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        for subchannel in _subchannels():
            transport = subchannel.transports.get(request.socket_id)
            if transport is not None:
                found = _socket(request.socket_id, transport.peer, transport.local, transport.tally())
                return channelz_pb2.GetSocketResponse(socket=found)
        for number, server in tuple(channelz_registry.servers.items()):
            if (address := server.listening().get(request.socket_id)) is not None:
                return channelz_pb2.GetSocketResponse(socket=_listening(request.socket_id, address))
            for token, peer, local, tally in server.sockets():
                if _socket_id(number, token) == request.socket_id:
                    return channelz_pb2.GetSocketResponse(socket=_socket(request.socket_id, peer, local, tally))
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no socket {request.socket_id}")
        raise AssertionError  # abort raises


def add_channelz_servicer(server: grpc.Server | grpc.aio.Server) -> None:
    """Serve it, beside what else the server has."""
    channelz_pb2_grpc.add_ChannelzServicer_to_server(ChannelzServicer(), server)


def _page(things: Iterable[tuple[int, Any]], start: int, most: int) -> tuple[list[tuple[int, Any]], bool]:
    rest = sorted((entry for entry in tuple(things) if entry[0] >= start), key=lambda entry: entry[0])
    most = most or _PAGE
    return rest[:most], len(rest) <= most


def _subchannels() -> Iterator[channelz_registry.Connecting]:
    for core in tuple(channelz_registry.channels.values()):
        yield from core.subchannels


def _socket_id(server: int, token: int) -> int:
    return server << _TOKEN_BITS | token


def _calls(tally: Tally) -> dict[str, int]:
    return {"calls_started": tally.started, "calls_succeeded": tally.succeeded, "calls_failed": tally.failed}


def _channel(number: int, core: channelz_registry.Calling) -> Any:
    subchannels = core.subchannels
    state = channelz_pb2.ChannelConnectivityState(state=_STATES.Value(core.connectivity().name))
    tally = channelz_registry.total(subchannel.tally() for subchannel in subchannels)
    return channelz_pb2.Channel(
        ref=channelz_pb2.ChannelRef(channel_id=number, name=core.target),
        data=channelz_pb2.ChannelData(state=state, target=core.target, **_calls(tally)),
        subchannel_ref=[
            channelz_pb2.SubchannelRef(subchannel_id=subchannel.number, name=str(subchannel.key))
            for subchannel in subchannels
        ],
    )


def _subchannel(subchannel: channelz_registry.Connecting) -> Any:
    if subchannel.transport is not None:
        state = "READY"
    elif subchannel.dialling:
        state = "CONNECTING"
    else:
        state = "TRANSIENT_FAILURE" if subchannel.error is not None else "IDLE"
    transports = subchannel.transports
    return channelz_pb2.Subchannel(
        ref=channelz_pb2.SubchannelRef(subchannel_id=subchannel.number, name=str(subchannel.key)),
        data=channelz_pb2.ChannelData(
            state=channelz_pb2.ChannelConnectivityState(state=_STATES.Value(state)),
            target=str(subchannel.key),
            **_calls(subchannel.tally()),
        ),
        socket_ref=[channelz_pb2.SocketRef(socket_id=number, name=one.peer) for number, one in transports.items()],
    )


def _server(number: int, server: channelz_registry.Serving) -> Any:
    return channelz_pb2.Server(
        ref=channelz_pb2.ServerRef(server_id=number),
        data=channelz_pb2.ServerData(**_calls(server.tally())),
        listen_socket=[
            channelz_pb2.SocketRef(socket_id=socket, name=address) for socket, address in server.listening().items()
        ],
    )


def _listening(number: int, address: str) -> Any:
    return channelz_pb2.Socket(
        ref=channelz_pb2.SocketRef(socket_id=number, name=address),
        local=_address(address),
    )


def _socket(number: int, peer: str, local: str, tally: Tally) -> Any:
    return channelz_pb2.Socket(
        ref=channelz_pb2.SocketRef(socket_id=number, name=peer),
        data=channelz_pb2.SocketData(
            streams_started=tally.started,
            streams_succeeded=tally.succeeded,
            streams_failed=tally.failed,
            messages_sent=tally.messages_sent,
            messages_received=tally.messages_received,
            keep_alives_sent=tally.keepalives,
        ),
        local=_address(local),
        remote=_address(peer),
    )


def _address(name: str) -> Any:
    """From the engine's ``ipv4:1.2.3.4:5``, ``ipv6:%5B::1%5D:5`` or ``unix:``."""
    scheme, _, rest = unquote(name).partition(":")
    if scheme not in {"ipv4", "ipv6"}:
        return channelz_pb2.Address(uds_address=channelz_pb2.Address.UdsAddress(filename=rest))
    host, _, port = rest.rpartition(":")
    packed = ipaddress.ip_address(host.strip("[]")).packed
    return channelz_pb2.Address(tcpip_address=channelz_pb2.Address.TcpIpAddress(ip_address=packed, port=int(port)))
