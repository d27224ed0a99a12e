"""TLS sessions are resumed within a channel, and by channels that say so: no other channel shows this one's tickets."""

from __future__ import annotations

import grpc
import pytest
from grpc.experimental import session_cache

import rpc
from examples.hello.hello_pb2 import HelloReply
from tests.rpc.conftest import MATRIX
from tests.rpc.peers import World
from tests.rpc.script import READ
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import Authority


@pytest.fixture(params=[entry for entry in MATRIX if entry[2] == "ours"], ids="-".join)
def world(request):
    world = World(*request.param)
    yield world
    world.close()


def reused():
    context = yield lambda context: context.auth_context()
    while (yield READ) is not None:
        yield HelloReply(message=context["ssl_session_reused"][0].decode())


@pytest.mark.parametrize(("caches", "resumed"), [((None, None), "false"), ((0, 0), "true"), ((0, 1), "false")])
def test_only_channels_that_share_a_cache_resume_each_others_sessions(world, caches, resumed):
    root, name = Authority("a company"), "server.example"
    address = world.serve(reused, credentials=rpc.ssl_server_credentials([root.issue(dns=[name]).pair]))
    made = [session_cache.ssl_session_cache_lru(8) for _ in range(2)]
    make = rpc if world.client_make == "ours" else grpc
    said = []
    for cache in caches:
        # A global pool of connections would hand the second channel the first one's, in grpcio.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", name)]
        if cache is not None:
            options.append(("grpc.ssl_session_cache", made[cache]))
        client = world.connect(address, options, credentials=make.ssl_channel_credentials(root.pem))
        said += client.call("unary", asked()).messages
    assert said == ["false", resumed]
