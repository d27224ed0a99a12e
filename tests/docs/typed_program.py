"""What users write with the public API, for the type checkers: every line is meant to be right. It is never run."""

# ruff: noqa: T201, TC001  # as users write it

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from proxyless import rpc
from proxyless.localmesh import LocalMesh
from proxyless.rpc import aio, channelz
from proxyless.rpc.aio import insecure_channel, secure_channel
from proxyless.xds import Bootstrap, InboundMissing, Listener, PilotExchanger, ResourceType, Target
from proxyless.xds.identity import Identity
from proxyless.xds.model import Cluster, TargetConfig, TargetMissing


def credentials_of_channels() -> list[grpc.Channel]:
    call = rpc.composite_call_credentials(
        rpc.access_token_call_credentials("token"), grpc.access_token_call_credentials("another")
    )
    tls = rpc.ssl_channel_credentials(b"roots", b"key", b"chain")
    return [
        rpc.insecure_channel("localhost:50051"),
        rpc.insecure_channel("xds:///reviews.demo:9080", [("grpc.max_receive_message_length", 1 << 20)]),
        rpc.secure_channel("localhost:50051", tls),
        rpc.secure_channel("localhost:50051", rpc.ssl_channel_credentials(), compression=grpc.Compression.Gzip),
        rpc.secure_channel("localhost:50051", rpc.composite_channel_credentials(tls, call)),
        rpc.secure_channel("localhost:50051", rpc.local_channel_credentials()),
        rpc.secure_channel("localhost:50051", grpc.ssl_channel_credentials()),
        rpc.secure_channel("xds:///reviews.demo:9080", rpc.xds_channel_credentials(tls)),
    ]


def servers(mesh: PilotExchanger) -> list[grpc.Server]:
    server = rpc.server(ThreadPoolExecutor(8), maximum_concurrent_rpcs=100)
    port: int = server.add_secure_port("[::]:9080", rpc.xds_server_credentials())
    server.add_secure_port("[::]:0", rpc.xds_server_credentials(mesh=mesh))
    server.add_secure_port("[::]:0", rpc.ssl_server_credentials([(b"key", b"chain")]))
    configuration = rpc.ssl_server_certificate_configuration([(b"key", b"chain")], b"roots")
    server.add_secure_port("[::]:0", rpc.dynamic_ssl_server_credentials(configuration, lambda: None, True))
    server.add_secure_port("[::]:0", rpc.local_server_credentials())
    server.add_secure_port("[::]:0", rpc.insecure_server_credentials())
    server.add_insecure_port(f"localhost:{port}")
    server.add_probe_port("[::]:9081")
    channelz.add_channelz_servicer(server)
    server.start()
    rpc.serve_until_terminated(server)
    return [server, rpc.server(None, mesh=mesh)]


async def asynchronous(mesh: PilotExchanger) -> None:
    server = aio.server(mesh=mesh)
    server.add_secure_port("[::]:9080", rpc.xds_server_credentials())
    await server.start()
    async with insecure_channel("xds:///reviews.demo:9080", mesh=mesh) as channel:
        await channel.channel_ready()
    async with secure_channel("localhost:50051", rpc.ssl_channel_credentials()) as secure:
        plain: grpc.aio.Channel = secure
        await plain.close()
    await secure_channel("localhost:50051", grpc.ssl_channel_credentials()).close()
    await rpc.aio.serve_until_terminated(server)


def discovery(config: TargetConfig | TargetMissing, listener: Listener | InboundMissing) -> Identity | None:
    del config, listener
    mesh = rpc.mesh()
    if not mesh.status().ready:
        return None
    with PilotExchanger(Bootstrap.load()) as exchanger:
        cluster: Cluster = exchanger.get(ResourceType.CLUSTER, "outbound|9080||reviews.demo.svc.cluster.local")
        handle = exchanger.observe_target(Target.parse("xds:///reviews.demo:9080"), print)
        handle.close()
        print(cluster.name)
    return mesh.identity.current if mesh.identity is not None else None


def local() -> str:
    with LocalMesh("mesh/", auto_mtls=False) as mesh:
        return mesh.address
