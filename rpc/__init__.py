"""The data plane: gRPC's Python API on our own engine, routed by the mesh.

    channel = rpc.insecure_channel("xds:///reviews.demo:9080")
    stub = GreeterStub(channel)                       # as generated

`insecure_channel` and `server` are for threads; the same names in `rpc.aio` are for asyncio. Users import it by its
longer name, `from proxyless import rpc`, as the examples of all docstrings do; their Greeter is `examples/hello`'s.
"""

import logging

from grpc import access_token_call_credentials, composite_call_credentials, metadata_call_credentials

from rpc import aio, balancing, resolver
from rpc.authorization.clusters import channels_by
from rpc.blocking import Channel
from rpc.blocking.channel import insecure_channel, secure_channel
from rpc.blocking.cluster_channel import cluster_channel
from rpc.blocking.server import Server, server
from rpc.blocking.termination import serve_until_terminated
from rpc.credentials import composite_channel_credentials, xds_channel_credentials
from rpc.engine_channels import EngineChannels
from rpc.errors import CallFailed
from rpc.extension import extend
from rpc.process_mesh import mesh
from rpc.security import (
    SecurityError,
    dynamic_ssl_server_credentials,
    insecure_server_credentials,
    local_channel_credentials,
    local_server_credentials,
    ssl_channel_credentials,
    ssl_server_certificate_configuration,
    ssl_server_credentials,
    xds_server_credentials,
)
from rpc.serving.claims import verified_claims
from xds_client.channels import prefer

logging.getLogger(f"proxyless.{__name__}").addHandler(logging.NullHandler())
prefer(EngineChannels())
channels_by(cluster_channel)

__all__ = [
    "CallFailed",
    "Channel",
    "SecurityError",
    "Server",
    "access_token_call_credentials",
    "aio",
    "balancing",
    "composite_call_credentials",
    "composite_channel_credentials",
    "dynamic_ssl_server_credentials",
    "extend",
    "insecure_channel",
    "insecure_server_credentials",
    "local_channel_credentials",
    "local_server_credentials",
    "mesh",
    "metadata_call_credentials",
    "resolver",
    "secure_channel",
    "serve_until_terminated",
    "server",
    "ssl_channel_credentials",
    "ssl_server_certificate_configuration",
    "ssl_server_credentials",
    "verified_claims",
    "xds_channel_credentials",
    "xds_server_credentials",
]
