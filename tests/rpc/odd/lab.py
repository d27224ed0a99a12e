"""What happens when a program does something odd, written down so that two makes can be compared.

A probe is a function of a `Lab`; it notes what it saw and returns it. It runs with grpcio at both ends (the control)
and with every pairing of ours and grpcio's; the notes have to be equal.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from concurrent import futures

import grpc
import grpc.aio

import rpc
import rpc.aio

SERVICE = "odd.Service"
PATIENCE = 20.0
_KINDS = (
    grpc.RpcError,
    grpc.Call,
    grpc.Future,
    grpc.FutureTimeoutError,
    grpc.FutureCancelledError,
    grpc.aio.AioRpcError,
    grpc.aio.UsageError,
    asyncio.InvalidStateError,
    asyncio.CancelledError,
    StopIteration,
    StopAsyncIteration,
    TimeoutError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
)


def kind_of(error):
    """By what an error may be caught."""
    if isinstance(error, grpc.aio.UsageError):  # ours of a closed channel is both: this in asyncio, that in threads
        return ["ValueError or UsageError"]
    if type(error) is ValueError:
        return ["ValueError or UsageError"]
    kinds = [kind.__name__ for kind in _KINDS if isinstance(error, kind)]
    return kinds or ["another exception"]


def told(error):
    """What is known of an error: of a failed call its code and its details."""
    kinds = kind_of(error)
    if isinstance(error, grpc.RpcError) and hasattr(error, "code"):
        code = error.code()
        return ["raised", *kinds, code.name if code is not None else None, error.details()]
    return ["raised", *kinds]


def saw(action, *args, **how):
    """What came of it: a value, or what was raised."""
    try:
        return plain(action(*args, **how))
    except BaseException as error:
        return told(error)


async def seen(awaitable):
    try:
        if callable(awaitable):
            awaitable = awaitable()
        return plain(await awaitable if inspect.isawaitable(awaitable) else awaitable)
    except asyncio.CancelledError:
        if asyncio.current_task().cancelling():
            raise
        return ["raised", "CancelledError"]
    except BaseException as error:
        return told(error)


def plain(value):  # noqa: PLR0911 - one for each kind
    """Without the parts in which makes may differ: classes and our own pairs of metadata."""
    if value is grpc.aio.EOF:
        return "EOF"
    if isinstance(value, BaseException):
        return told(value)
    if isinstance(value, grpc.StatusCode):
        return value.name
    if isinstance(value, grpc.aio.Metadata) or (isinstance(value, tuple) and value and isinstance(value[0], tuple)):
        return [f"{key}={item!r}" for key, item in value if key.startswith("x-")]
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if value is None or isinstance(value, (str, bytes, int, float, bool)):
        return value
    return f"<{type(value).__name__}>"


def _add_port(server, credentials):
    address = "127.0.0.1:0"
    return server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)


class Lab:
    def __init__(self, client, server):
        self._makes = client, server
        self.ends = contextlib.ExitStack()

    @property
    def client(self):
        return rpc if self._makes[0] == "ours" else grpc

    @property
    def server(self):
        return rpc if self._makes[1] == "ours" else grpc

    def serve(self, threads=8, options=None, interceptors=None, start=True, credentials=None, **handlers):
        """Start a server with these handlers (made by `grpc.…_rpc_method_handler`); returns its address."""
        pool = futures.ThreadPoolExecutor(threads)
        server = self.server.server(pool, options=options, interceptors=interceptors)
        port = _add_port(server, credentials)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if start:
            server.start()
        self.ends.callback(pool.shutdown, wait=False)
        self.ends.callback(lambda: server.stop(0).wait(PATIENCE))
        self.last_server = server
        return f"127.0.0.1:{port}"

    def connect(self, address, **how):
        channel = self.client.insecure_channel(address, **how)
        self.ends.callback(channel.close)
        return channel


class AioLab(Lab):
    @property
    def client(self):
        return rpc.aio if self._makes[0] == "ours" else grpc.aio

    @property
    def server(self):
        return rpc.aio if self._makes[1] == "ours" else grpc.aio

    def __init__(self, client, server):
        super().__init__(client, server)
        self.ends = contextlib.AsyncExitStack()

    async def serve(self, options=None, interceptors=None, start=True, credentials=None, **handlers):
        server = self.server.server(options=options, interceptors=interceptors)
        port = _add_port(server, credentials)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if start:
            await server.start()
        self.ends.push_async_callback(server.stop, 0)
        self.last_server = server
        return f"127.0.0.1:{port}"

    def connect(self, address, **how):
        channel = self.client.insecure_channel(address, **how)
        self.ends.push_async_callback(channel.close)
        return channel


def run(probe, client, server):
    """What the probe noted with these makes."""
    if inspect.iscoroutinefunction(probe):
        return asyncio.run(_run(probe, AioLab(client, server)))
    lab = Lab(client, server)
    with lab.ends:
        return probe(lab)


async def _run(probe, lab):
    async with lab.ends, asyncio.timeout(3 * PATIENCE):
        return await probe(lab)


def uu(function, **how):
    return grpc.unary_unary_rpc_method_handler(function, **how)


def us(function, **how):
    return grpc.unary_stream_rpc_method_handler(function, **how)


def su(function, **how):
    return grpc.stream_unary_rpc_method_handler(function, **how)


def ss(function, **how):
    return grpc.stream_stream_rpc_method_handler(function, **how)


def path(name):
    return f"/{SERVICE}/{name}"


class Gate(threading.Event):
    """Set by the probe to let a handler go on."""


def same(ours, grpcios):
    """Equal, or grpcio's words with the cause behind them."""
    if isinstance(ours, list) and isinstance(grpcios, list):
        return len(ours) == len(grpcios) and all(map(same, ours, grpcios))
    if isinstance(ours, str) and isinstance(grpcios, str) and grpcios:
        return ours.startswith(grpcios.rstrip("!"))
    return isinstance(ours, bool) is isinstance(grpcios, bool) and ours == grpcios
