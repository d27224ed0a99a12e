"""Listeners with filters of every type under every name: a chain is open if, and only if, each of them is harmless.

FUZZ_SECONDS bounds the time, as for the fuzzers in Rust; FUZZ_SEED repeats a run that failed.
"""

from __future__ import annotations

import os
import random
import time

from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from udpa.type.v1 import typed_struct_pb2

from rpc.authorization.demands import Demands
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.inbound import chains_for_port
from xds_client.resource_type import ResourceType

SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("FUZZ_SEED", "20261130"))
V3 = "envoy.extensions.filters"
# Written down once more, so that one who is let in by mistake has to be let in twice.
HARMLESS = {
    "listener": ["original_dst.v3.OriginalDst", "tls_inspector.v3.TlsInspector", "http_inspector.v3.HttpInspector"],
    "network": ["envoy.tcp.metadataexchange.config.MetadataExchange", "stats.PluginConfig"],
    "http": [f"{V3}.http.cors.v3.Cors", f"{V3}.http.grpc_stats.v3.FilterConfig", "io.istio.http.peer_metadata.Config"],
}
HARMLESS["listener"] = [f"{V3}.listener.{kind}" for kind in HARMLESS["listener"]]
OTHERS = {
    "listener": [f"{V3}.listener.proxy_protocol.v3.ProxyProtocol", "", "tls_inspector"],
    "network": [
        f"{V3}.network.rbac.v3.RBAC",
        f"{V3}.network.http_connection_manager.v3.HttpConnectionManager",
        f"{V3}.network.tcp_proxy.v3.TcpProxy",
        "",
    ],
    "http": [f"{V3}.http.rbac.v3.RBAC", f"{V3}.http.lua.v3.Lua", "Router", ""],
}
# What is carried out closes a chain only by what it says: a matching tree, which nobody evaluates.
DEMANDING = {
    f"{V3}.{kind}.rbac.v3.RBAC": rbac.RBAC(matcher={}).SerializeToString()
    for kind, rbac in {"http": http_rbac_pb2, "network": network_rbac_pb2}.items()
}
NAMES = [
    "istio.stats",
    "istio.metadata_exchange",
    "envoy.filters.http.router",
    "envoy.filters.network.tcp_proxy",
    "envoy.filters.listener.tls_inspector",
    "",
]


class Maker:
    def __init__(self, dice):
        self.dice = dice
        self.harmless = True

    def fill(self, where, kind):
        """One filter; puts down whether it is harmless."""
        where.name = self.dice.choice(NAMES)
        good = self.dice.random() < 0.85
        self.harmless &= good
        said = self.dice.choice((HARMLESS if good else OTHERS)[kind])
        if not good and self.dice.random() < 0.3:
            self.discovered(where)
        elif said and kind != "listener" and self.dice.random() < 0.3:
            struct = typed_struct_pb2.TypedStruct(type_url=f"type.googleapis.com/{said}")
            where.typed_config.Pack(struct)
        elif said:
            where.typed_config.type_url = f"{self.dice.choice(('type.googleapis.com', 'x/y', ''))}/{said}"
            where.typed_config.value = DEMANDING.get(said, b"")

    def discovered(self, where):
        if self.dice.random() < 0.5:
            where.config_discovery.config_source.ads.SetInParent()
        where.config_discovery.type_urls.append("type.googleapis.com/stats.PluginConfig")

    def router(self, where):
        where.name = self.dice.choice(NAMES)
        router = router_pb2.Router()
        if self.dice.random() < 0.2:
            self.fill(router.upstream_http_filters.add(), "http")
        where.typed_config.Pack(router)

    def routes(self, host):
        route = host.routes.add()
        route.match.prefix = "/"
        route.route.cluster = "inbound|1||"
        if self.dice.random() < 0.1:
            self.harmless = False
            self.dice.choice((route.direct_response, route.redirect, route.non_forwarding_action)).SetInParent()

    def last(self, where):
        where.name = self.dice.choice(NAMES)
        end = self.dice.randrange(10)
        if end < 6:
            manager = http_connection_manager_pb2.HttpConnectionManager()
            for _ in range(self.dice.randrange(4)):
                self.fill(manager.http_filters.add(), "http")
            self.router(manager.http_filters.add())
            self.routes(manager.route_config.virtual_hosts.add(name="v", domains=["*"]))
            where.typed_config.Pack(manager)
        elif end < 8:
            where.typed_config.Pack(tcp_proxy_pb2.TcpProxy(cluster="inbound|1||"))
        else:
            self.harmless = False
            if end == 8:
                self.discovered(where)
            else:
                manager = http_connection_manager_pb2.HttpConnectionManager.DESCRIPTOR.full_name
                where.typed_config.Pack(typed_struct_pb2.TypedStruct(type_url=f"type.googleapis.com/{manager}"))

    def listener(self):
        message = listener_pb2.Listener(name="virtualInbound")
        for _ in range(self.dice.randrange(3)):
            self.fill(message.listener_filters.add(), "listener")
        chain = message.filter_chains.add(name="the chain")
        for _ in range(self.dice.randrange(3)):
            self.fill(chain.filters.add(), "network")
        self.last(chain.filters.add())
        return message


def judged(data):
    listener = parse(ResourceType.LISTENER, "virtualInbound", ResourceType.LISTENER.value, data).value()
    port = chains_for_port(listener, 9080)
    return [Demands(None).of(port, chain).refusal for chain in port.chains]


def test_no_combination_of_filters_opens_what_one_of_them_closes():
    end, seed, open_ones, closed = time.monotonic() + SECONDS, SEED, 0, 0
    while time.monotonic() < end or not (open_ones and closed):
        maker = Maker(random.Random(seed))
        message = maker.listener()
        [why] = judged(message.SerializeToString())
        assert (why == "") is maker.harmless, f"seed {seed}: {why or 'open'}\n{message}"
        open_ones, closed, seed = open_ones + maker.harmless, closed + (not maker.harmless), seed + 1


def test_changed_bytes_are_refused_or_read_and_never_raise_anything_else():
    end, seed = time.monotonic() + SECONDS, SEED
    while time.monotonic() < end:
        dice = random.Random(seed)
        data = bytearray(Maker(dice).listener().SerializeToString())
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        try:
            judged(bytes(data))
        except DecodeError:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed}: {data.hex()}") from error
        seed += 1
