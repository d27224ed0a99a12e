"""A workload: the Greeter of examples/hello, which answers with its own name. Run as ``python -m e2e.provider``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from examples.hello import hello_pb2 as pb
from examples.hello import hello_pb2_grpc as stubs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Greeter(stubs.GreeterServicer):
    """Blocking handlers. A request named ``sleep:0.5`` is answered after half a second."""

    # ruff: noqa: N802  protoc names the methods
    def __init__(self, name: str) -> None:
        self._name = name

    def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        time.sleep(nap(request.name))
        return self._reply(request)

    def ListHellos(self, request: pb.HelloRequest, context: Any) -> Iterator[pb.HelloReply]:
        for _ in range(request.count):
            yield self._reply(request)

    def CollectHellos(self, request_iterator: Iterator[pb.HelloRequest], context: Any) -> pb.HelloReply:
        names = [request.name for request in request_iterator]
        return pb.HelloReply(message=f"Hello {', '.join(names)}", server=self._name)

    def Chat(self, request_iterator: Iterator[pb.HelloRequest], context: Any) -> Iterator[pb.HelloReply]:
        for request in request_iterator:
            yield self._reply(request)

    def _reply(self, request: pb.HelloRequest) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello {request.name}", server=self._name, payload=request.payload)


class AioGreeter(stubs.GreeterServicer):
    """The same, as coroutines."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        if seconds := nap(request.name):
            await asyncio.sleep(seconds)
        return self._reply(request)

    async def ListHellos(self, request: pb.HelloRequest, context: Any) -> AsyncIterator[pb.HelloReply]:
        for _ in range(request.count):
            yield self._reply(request)

    async def CollectHellos(self, request_iterator: AsyncIterator[pb.HelloRequest], context: Any) -> pb.HelloReply:
        names = [request.name async for request in request_iterator]
        return pb.HelloReply(message=f"Hello {', '.join(names)}", server=self._name)

    async def Chat(
        self, request_iterator: AsyncIterator[pb.HelloRequest], context: Any
    ) -> AsyncIterator[pb.HelloReply]:
        async for request in request_iterator:
            yield self._reply(request)

    def _reply(self, request: pb.HelloRequest) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello {request.name}", server=self._name, payload=request.payload)


def nap(name: str) -> float:
    return float(name.removeprefix("sleep:")) if name.startswith("sleep:") else 0.0


def serve_blocking(engine: Any, name: str, address: str) -> None:
    """Serve with ``grpc`` or ``rpc`` until SIGTERM."""
    server = engine.server(futures.ThreadPoolExecutor(8))
    stubs.add_GreeterServicer_to_server(Greeter(name), server)
    port = server.add_insecure_port(address)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    announce(name, address, port)
    ended.wait()
    server.stop(1.0).wait()


async def serve_aio(engine: Any, name: str, address: str) -> None:
    """Serve with ``grpc.aio`` or ``rpc.aio`` until SIGTERM."""
    server = engine.aio.server()
    stubs.add_GreeterServicer_to_server(AioGreeter(name), server)
    port = server.add_insecure_port(address)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await server.start()
    announce(name, address, port)
    await ended.wait()
    await server.stop(1.0)


def announce(name: str, address: str, port: int) -> None:
    host = address.rpartition(":")[0]
    print("ready", json.dumps({"name": name, "address": f"{host}:{port}"}), flush=True)


def engine_named(name: str) -> Any:
    if name == "grpcio":
        return grpc
    import rpc  # noqa: PLC0415  the grpcio engine must work without ours being built
    import rpc.aio  # noqa: PLC0415

    return rpc


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.provider", description=__doc__)
    parser.add_argument("--name", required=True, help="what every reply's `server` says")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: any free one")
    parser.add_argument("--engine", choices=["rpc", "grpcio"], default="rpc", help="whose server (default: ours)")
    parser.add_argument("--aio", action="store_true", help="the asyncio server")
    given = parser.parse_args()
    engine = engine_named(given.engine)
    if given.aio:
        asyncio.run(serve_aio(engine, given.name, given.listen))
    else:
        serve_blocking(engine, given.name, given.listen)


if __name__ == "__main__":
    main()
