"""The stacks under one shape: how a worker gets a channel or a server of each, in plaintext and over mutual TLS."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

import rpc
from bench import engine, guarded
from bench.certificates import Authority, Pair
from bench.greeter import AioGreeter, Greeter
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterStub, add_GreeterServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_THREADS = 16
STREAM_MESSAGES = 1_000
"""Messages of one server stream: long against its start, short against a round."""
# Where a run's workers find what they show each other: a folder that the run made.
_MATERIAL = guarded.MATERIAL


@dataclass(frozen=True)
class Stack:
    """One implementation of grpc's Python API, blocking and asyncio. A channel has its connections to itself."""

    channel: Callable[[str], Any]
    server: Callable[[], Any]
    aio_channel: Callable[[str], Any]
    aio_server: Callable[[], Any]
    # Binds a server to the address; returns the port.
    bind: Callable[[Any, str], int] = lambda server, address: server.add_insecure_port(address)
    stub: Callable[[Any], Any] = GreeterStub
    # What a stub is called with, of so many bytes.
    request: Callable[[int], Any] = lambda payload: HelloRequest(payload=bytes(payload), count=STREAM_MESSAGES)
    # Gives a server what answers; the last argument says whether it is an asyncio one.
    equip: Callable[[Any, bool], None] = lambda server, in_loop: add_GreeterServicer_to_server(
        AioGreeter() if in_loop else Greeter(), server
    )


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SERVER_THREADS)


def make_material(folder: Path) -> None:
    """Certificates and a token for the workers that this process starts from now on."""
    authority = Authority()
    (folder / "root").write_bytes(authority.root)
    for name in ("client", "server"):
        pair = authority.issue(name)
        (folder / f"{name}.key").write_bytes(pair.key)
        (folder / f"{name}.chain").write_bytes(pair.chain)
    guarded.make_tokens(folder)
    os.environ[_MATERIAL] = str(folder)


def _material(name: str) -> tuple[bytes, Pair]:
    folder = Path(os.environ[_MATERIAL])
    pair = Pair((folder / f"{name}.key").read_bytes(), (folder / f"{name}.chain").read_bytes())
    return (folder / "root").read_bytes(), pair


def _client(make: Any) -> Any:
    root, (key, chain) = _material("client")
    return make.ssl_channel_credentials(root, key, chain)


def _bind_secure(make: Any) -> Callable[[Any, str], int]:
    def bind(server: Any, address: str) -> int:
        root, pair = _material("server")
        credentials = make.ssl_server_credentials([pair], root, require_client_auth=True)
        port: int = server.add_secure_port(address, credentials)
        return port

    return bind


# grpcio shares connections between channels of one target; ours does not.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)

_METHOD = "hello.Greeter", "SayHello"


class _BytesStub:
    def __init__(self, channel: Any) -> None:
        self.SayHello = channel.unary_unary("/" + "/".join(_METHOD))


def _echo(request: bytes, _: Any) -> bytes:
    return request


async def _aio_echo(request: bytes, _: Any) -> bytes:
    return request


def _equip_for_bytes(server: Any, in_loop: bool) -> None:
    service, method = _METHOD
    handler = grpc.unary_unary_rpc_method_handler(_aio_echo if in_loop else _echo)
    server.add_registered_method_handlers(service, {method: handler})


def _bytes(payload: int) -> bytes:
    return HelloRequest(payload=bytes(payload), count=STREAM_MESSAGES).SerializeToString()


_OURS = Stack(rpc.insecure_channel, lambda: rpc.server(_pool()), rpc.aio.insecure_channel, rpc.aio.server)
_OURS_IN_BYTES = replace(_OURS, stub=_BytesStub, request=_bytes, equip=_equip_for_bytes)
_GUARDED = replace(_OURS, stub=guarded.CallerWithToken)
# Threads that wait look for 200 µs before they sleep.
_BUSY = (("proxyless.busy_poll_us", 200),)

STACKS = {
    # Ours, a layer less each time: see `bench.layers`.
    "bytes": _OURS_IN_BYTES,
    "bytes-inline": replace(_OURS_IN_BYTES, server=lambda: rpc.server(None)),
    "engine": Stack(
        engine.Channel,
        engine.Server,
        engine.AioLoads,
        engine.AioServer,
        stub=lambda channel: channel,
        request=_bytes,
        equip=lambda server, in_loop: None,  # noqa: ARG005 - it answers by itself
    ),
    "ours": _OURS,
    "ours-busy": Stack(
        lambda target: rpc.insecure_channel(target, _BUSY),
        lambda: rpc.server(_pool(), options=_BUSY),
        rpc.aio.insecure_channel,
        rpc.aio.server,
    ),
    "ours-tls": Stack(
        lambda target: rpc.secure_channel(target, _client(rpc)),
        lambda: rpc.server(_pool()),
        lambda target: rpc.aio.secure_channel(target, _client(rpc)),
        rpc.aio.server,
        _bind_secure(rpc),
    ),
    # Policies: see `bench.guarded`.
    "open": replace(_GUARDED, bind=guarded.bind(guarded.nothing)),
    "tokens": replace(_GUARDED, bind=guarded.bind(guarded.tokens)),
    "rules-1": replace(_GUARDED, bind=guarded.bind(guarded.rules(1))),
    "rules-20": replace(_GUARDED, bind=guarded.bind(guarded.rules(20))),
    "rules-1000": replace(_GUARDED, bind=guarded.bind(guarded.rules(1000))),
    "grpcio": Stack(
        lambda target: grpc.insecure_channel(target, _OWN_CONNECTION),
        lambda: grpc.server(_pool()),
        lambda target: aio.insecure_channel(target, _OWN_CONNECTION),
        aio.server,
    ),
    "grpcio-tls": Stack(
        lambda target: grpc.secure_channel(target, _client(grpc), _OWN_CONNECTION),
        lambda: grpc.server(_pool()),
        lambda target: aio.secure_channel(target, _client(grpc), _OWN_CONNECTION),
        aio.server,
        _bind_secure(grpc),
    ),
}
