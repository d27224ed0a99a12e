"""The two stacks under one shape: how a worker gets a channel or a server of either. TLS will be added here."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio

import rpc

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_THREADS = 16


@dataclass(frozen=True)
class Stack:
    """One implementation of grpc's Python API, blocking and asyncio. A channel has its connections to itself."""

    channel: Callable[[str], Any]
    server: Callable[[], Any]
    aio_channel: Callable[[str], Any]
    aio_server: Callable[[], Any]


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SERVER_THREADS)


# grpcio shares connections between channels of one target; ours does not.
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)

STACKS = {
    "ours": Stack(rpc.insecure_channel, lambda: rpc.server(_pool()), rpc.aio.insecure_channel, rpc.aio.server),
    "grpcio": Stack(
        lambda target: grpc.insecure_channel(target, _OWN_CONNECTION),
        lambda: grpc.server(_pool()),
        lambda target: aio.insecure_channel(target, _OWN_CONNECTION),
        aio.server,
    ),
}
