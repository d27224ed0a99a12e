"""A workload that tells what it saw of its caller. Run as ``python -m e2e.envoy.app``, in its pod.

It is the Greeter of examples/hello; its answers carry, as initial metadata, the peer's identity as the server knows it
(``seen-peer``, ``seen-security``) and as a proxy in front of it says (``seen-xfcc``).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from e2e.envoy.control import answer
from e2e.envoy.inbound import Chain
from e2e.provider import Greeter
from examples.hello import hello_pb2_grpc as stubs

if TYPE_CHECKING:
    from examples.hello import hello_pb2 as pb
    from xds_client.model import FilterChain, InboundMissing, Listener
    from xds_client.model.filter import Filter


class Witness(Greeter):
    def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:  # noqa: N802  protoc names it
        identities = [one.decode() for one in context.peer_identities() or ()]
        security = [one.decode() for one in context.auth_context().get("transport_security_type", ())]
        given = dict(context.invocation_metadata())
        context.send_initial_metadata(
            (
                ("seen-peer", ",".join(identities)),
                ("seen-security", ",".join(security)),
                ("seen-xfcc", given.get("x-forwarded-client-cert", "")),
            )
        )
        return super().SayHello(request, context)


def plain(listen: list[str]) -> Any:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    for address in listen:
        server.add_insecure_port(address)
    return server


def ours(listen: list[str], control: str) -> Any:
    import rpc  # noqa: PLC0415  the plain one must work without ours being built

    answer_for_the_mesh(control)
    server = rpc.server(futures.ThreadPoolExecutor(8))
    for address in listen:
        server.add_secure_port(address, rpc.xds_server_credentials())
    return server


async def ours_in_a_loop(listen: list[str], control: str, servicer: stubs.GreeterServicer) -> None:
    """Serve until SIGTERM; the blocking handlers have a pool."""
    import rpc.aio  # noqa: PLC0415  as above

    answer_for_the_mesh(control)
    server = rpc.aio.server(futures.ThreadPoolExecutor(8))
    for address in listen:
        server.add_secure_port(address, rpc.xds_server_credentials())
    stubs.add_GreeterServicer_to_server(servicer, server)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await server.start()
    print("ready", flush=True)
    await ended.wait()
    await server.stop(1.0)


def answer_for_the_mesh(control: str) -> None:
    """Say, when asked, what the mesh says of this process's ports.

    ``{"port": P}``: its chains; ``{"mentions": TEXT}``: whether any filter's configuration has this in it.
    """
    import rpc  # noqa: PLC0415  as above

    told: list[Listener | InboundMissing] = []
    rpc.mesh().observe_inbound(told.append)

    def reply(question: dict[str, Any]) -> Any:
        last = told[-1] if told else None
        if "mentions" in question:
            return any(question["mentions"] in repr(one.config) for one in _filters(last))
        return _inbound(last, question["port"])

    answer(control, reply)


def _filters(told: Listener | InboundMissing | None) -> list[Filter]:
    return [
        one for chain in getattr(told, "filter_chains", ()) for one in (*chain.http_filters, *chain.network_filters)
    ]


def _inbound(told: Listener | InboundMissing | None, port: int) -> list[list[Any]]:
    found = getattr(told, "filter_chains", ())
    named = [chain for chain in found if chain.match.destination_port == port]
    wanted = named or [chain for chain in found if chain.match.destination_port is None]
    return [list(_words(chain)) for chain in wanted]


def _words(chain: FilterChain) -> tuple[Any, ...]:
    mutual = chain.tls is not None and chain.tls.require_client_certificate
    match = chain.match
    said = Chain(chain.name, match.transport_protocol, match.application_protocols, chain.kind.value == "http", mutual)
    return (said.name, said.transport, said.alpn, said.http, said.mutual)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m e2e.envoy.app", description=__doc__)
    parser.add_argument("--name", required=True, help="what every reply's `server` says")
    parser.add_argument("--engine", choices=["grpcio", "rpc", "rpc.aio"], required=True, help="whose server")
    parser.add_argument("--listen", action="append", required=True, metavar="HOST:PORT")
    parser.add_argument("--control", metavar="PATH", required=True, help="Unix socket for what it is asked")
    given = parser.parse_args()
    servicer = Witness(given.name)
    if given.engine == "rpc.aio":
        asyncio.run(ours_in_a_loop(given.listen, given.control, servicer))
        return
    server = plain(given.listen) if given.engine == "grpcio" else ours(given.listen, given.control)
    stubs.add_GreeterServicer_to_server(servicer, server)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    server.start()
    print("ready", flush=True)
    ended.wait()
    server.stop(1.0).wait()


if __name__ == "__main__":
    main()
