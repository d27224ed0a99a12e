"""Which chain takes a connection: against an index built as Envoy builds its own, and what surprises people."""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.xds_client.captured import captured
from xds_client import model as m
from xds_client.decode import parse
from xds_client.inbound import chains_for_port, match_chain

PORTS = (8080, 9090)
IPS = ("10.1.2.3", "10.1.9.9", "10.2.0.1", "127.0.0.1", "::ffff:10.1.2.3", "fd00::1")
RANGES = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0", "fd00::/8", "::/0")))
NAMES = ("a.b.c", "b.c", "x.b.c", "c", "")
PATTERNS = ("a.b.c", "*.b.c", "*.c", "b.c")
TRANSPORTS = ("tls", "raw_buffer")
ALPN = ("istio-h2", "istio", "h2", "h2c")


def some(values):
    return st.lists(st.sampled_from(values), unique=True, max_size=2).map(tuple)


matches = st.builds(
    m.FilterChainMatch,
    destination_port=st.sampled_from((None, *PORTS)),
    prefix_ranges=some(RANGES),
    server_names=some(PATTERNS),
    transport_protocol=st.sampled_from(("", *TRANSPORTS)),
    application_protocols=some(ALPN),
    direct_source_prefix_ranges=some(RANGES),
    source_type=st.sampled_from(m.SourceType),
    source_prefix_ranges=some(RANGES),
    source_ports=some((1000, 2000)),
)

# With few properties in play many chains compete for one connection; with all of them hardly any does.
plain_matches = st.builds(
    m.FilterChainMatch,
    destination_port=st.sampled_from((None, *PORTS)),
    server_names=some(PATTERNS),
    transport_protocol=st.sampled_from(("", *TRANSPORTS)),
    application_protocols=some(ALPN),
)

source_matches = st.builds(
    m.FilterChainMatch,
    direct_source_prefix_ranges=some(RANGES),
    source_type=st.sampled_from(m.SourceType),
    source_prefix_ranges=some(RANGES),
    source_ports=some((1000, 2000)),
)

connections = st.fixed_dictionaries(
    {
        "destination_port": st.sampled_from((*PORTS, 7070)),
        "transport_protocol": st.sampled_from(TRANSPORTS),
        "application_protocols": st.lists(st.sampled_from(ALPN), unique=True, max_size=3),
        "server_name": st.sampled_from((*NAMES, "A.B.C")),
        "source_ip": st.sampled_from((None, *IPS)),
        "source_port": st.sampled_from((0, 1000, 3000)),
        "destination_ip": st.sampled_from((None, *IPS)),
    }
)


class EnvoysIndex:
    """Maps in maps, one level per property, as filter_chain_manager_impl.cc has them; overlapping chains left out."""

    def __init__(self, chains, default):
        self.root = {}
        self.chains = []
        self.default = default
        for chain in chains:
            self._add(chain)

    def _add(self, chain):
        match = chain.match
        levels = (
            [match.destination_port or 0],
            self._networks(match.prefix_ranges),
            match.server_names or [""],
            [match.transport_protocol],
            match.application_protocols or [""],
            self._networks(match.direct_source_prefix_ranges),
            [match.source_type],
            self._networks(match.source_prefix_ranges),
            match.source_ports or [0],
        )
        keys = list(itertools.product(*levels))
        if len(set(keys)) == len(keys) and all(self._at(key) is None for key in keys):
            self.chains.append(chain)
            for key in keys:
                level = self.root
                for part in key[:-1]:
                    level = level.setdefault(part, {})
                level[key[-1]] = chain

    def _at(self, key):
        level = self.root
        for part in key:
            level = level.get(part)
            if level is None:
                return None
        return level

    @staticmethod
    def _networks(ranges):
        return ranges or [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]

    def find(self, c):
        source, destination = self._ip(c["source_ip"]), self._ip(c["destination_ip"])
        ports = self.root
        found = ports.get(c["destination_port"]) or ports.get(0)
        found = self._trie(found, destination)
        found = self._server_name(found, c["server_name"].lower())
        found = self._first(found, [c["transport_protocol"], ""])
        found = self._first(found, [*c["application_protocols"], ""])
        found = self._trie(found, source)
        local = c["source_ip"] is not None and (source.is_loopback or source == destination)
        kind = m.SourceType.SAME_IP_OR_LOOPBACK if local else m.SourceType.EXTERNAL
        found = self._first(found, [kind, m.SourceType.ANY])
        found = self._trie(found, source)
        found = self._first(found, [c["source_port"], 0])
        return found if found is not None else self.default

    @staticmethod
    def _ip(text):
        address = ipaddress.ip_address(text or "255.255.255.255")
        return (address.version == 6 and address.ipv4_mapped) or address

    @staticmethod
    def _first(level, keys):
        return next((level[key] for key in keys if key in level), None) if level else None

    @staticmethod
    def _trie(level, address):
        fitting = [n for n in level or {} if n.version == address.version and address in n]
        return level[max(fitting, key=lambda n: n.prefixlen)] if fitting else None

    def _server_name(self, level, name):
        labels = name.split(".")
        wildcards = ["*." + ".".join(labels[i:]) for i in range(1, len(labels))]
        return self._first(level, [name, *wildcards, ""])


@given(
    st.lists(matches, max_size=6) | st.lists(plain_matches, max_size=12) | st.lists(source_matches, max_size=12),
    st.booleans(),
    st.lists(connections, min_size=1, max_size=8),
)
def test_the_chain_is_envoys(several, has_default, arriving):
    default = m.FilterChain("default") if has_default else None
    index = EnvoysIndex([m.FilterChain(str(i), match) for i, match in enumerate(several)], default)
    listener = m.Listener("l", filter_chains=tuple(index.chains), default_filter_chain=default)
    for connection in arriving:
        assert match_chain(listener, **connection) is index.find(connection)


def chain(name, **match):
    return m.FilterChain(name, m.FilterChainMatch(**match))


TEN = (ipaddress.ip_network("10.0.0.0/8"),)
CONNECTION = {
    "destination_port": 8080,
    "destination_ip": "10.0.0.1",
    "server_name": "a.b.c",
    "transport_protocol": "tls",
    "application_protocols": ("h2",),
    "source_ip": "10.0.0.2",
    "source_port": 1000,
}
IN_ORDER = [
    {"destination_port": 8080},
    {"prefix_ranges": TEN},
    {"server_names": ("*.c",)},
    {"transport_protocol": "tls"},
    {"application_protocols": ("h2",)},
    {"direct_source_prefix_ranges": TEN},
    {"source_type": m.SourceType.EXTERNAL},
    {"source_prefix_ranges": TEN},
    {"source_ports": (1000,)},
]


@pytest.mark.parametrize("earlier", range(len(IN_ORDER)))
def test_an_earlier_property_outweighs_all_later_ones_together(earlier):
    later = {key: value for said in IN_ORDER[earlier + 1 :] for key, value in said.items()}
    for chains in itertools.permutations((chain("later", **later), chain("earlier", **IN_ORDER[earlier]))):
        assert match_chain(m.Listener("l", filter_chains=chains), **CONNECTION).name == "earlier"


def test_matches_by_source_are_told_apart():
    by_source = [m.FilterChainMatch(**said).by_source for said in IN_ORDER]
    assert by_source == [False] * 5 + [True] * 4


def test_there_is_no_way_back():
    listener = m.Listener(
        "l",
        filter_chains=(
            chain("8080-tls", destination_port=8080, transport_protocol="tls"),
            chain("any"),
        ),
    )
    assert match_chain(listener, destination_port=7070, transport_protocol="raw_buffer").name == "any"
    assert match_chain(listener, destination_port=8080, transport_protocol="raw_buffer") is None, (
        "the port was named by a chain, so chains for any port are out"
    )
    with_default = dataclasses.replace(listener, default_filter_chain=chain("default"))
    assert match_chain(with_default, destination_port=8080, transport_protocol="raw_buffer").name == "default"


def test_the_clients_order_of_application_protocols_decides():
    listener = m.Listener(
        "l",
        filter_chains=(chain("h2", application_protocols=("h2",)), chain("istio", application_protocols=("istio",))),
    )
    for offered, taken in ((("istio", "h2"), "istio"), (("h2", "istio"), "h2"), (("x", "h2"), "h2")):
        found = match_chain(listener, destination_port=1, transport_protocol="tls", application_protocols=offered)
        assert found.name == taken
    assert match_chain(listener, destination_port=1, transport_protocol="tls", application_protocols=("x",)) is None


# The captured virtualInbound: PeerAuthentication STRICT, one declared gRPC port 18080.


@pytest.fixture(scope="module")
def strict():
    [resource] = [r for r in captured("sidecar-LDS.json") if r[1] == m.VIRTUAL_INBOUND]
    kind, name, data = resource
    return parse(kind, name, kind.value, data).value()


@pytest.mark.parametrize(
    ("port", "transport", "offered", "name"),
    [
        (18080, "tls", ("istio-h2", "istio", "h2"), "0.0.0.0_18080"),
        (18080, "tls", ("h2",), "0.0.0.0_18080"),
        (18080, "tls", (), "0.0.0.0_18080"),
        (18080, "raw_buffer", (), None),
        (19999, "tls", ("istio-h2", "istio", "h2"), "virtualInbound-catchall-http"),
        (19999, "tls", ("istio-peer-exchange", "istio", "h2"), "virtualInbound"),
        (19999, "tls", ("h2",), "virtualInbound"),
        (19999, "raw_buffer", ("h2c",), None),
        (15006, "tls", ("istio-h2",), "virtualInbound-blackhole"),
    ],
)
def test_strict(strict, port, transport, offered, name):
    found = match_chain(
        strict,
        destination_port=port,
        transport_protocol=transport,
        application_protocols=offered,
        server_name="outbound_.8080_._.pod.demo.svc.cluster.local",
        source_ip="10.0.0.7",
        destination_ip="127.0.0.9",
    )
    assert (found.name if found else None) == name


def test_what_the_engine_gets_for_a_port(strict):
    declared = chains_for_port(strict, 18080)
    assert [c.name for c in declared.chains] == ["0.0.0.0_18080"]
    assert (declared.inspects_tls, declared.inspects_http, declared.default) == (True, False, None)
    assert declared.declared
    [only] = declared.chains
    assert only.tls == m.DownstreamTls(
        alpn=("h2", "http/1.1"),
        certificate=m.MeshSecret(),
        roots=m.MeshSecret(),
        require_client_certificate=True,
        subject_alt_names=(m.StringMatch(m.StringMatchKind.PREFIX, "spiffe://cluster.local/"),),
    )
    assert only.kind is m.ChainKind.HTTP
    assert only.http_filters[-1].type == "envoy.extensions.filters.http.router.v3.Router"
    undeclared = chains_for_port(strict, 19999)
    assert [c.name for c in undeclared.chains] == ["virtualInbound-catchall-http", "virtualInbound"]
    assert [c.kind for c in undeclared.chains] == [m.ChainKind.HTTP, m.ChainKind.TCP]
    assert not undeclared.declared
    hole = chains_for_port(strict, 15006)
    assert not hole.inspects_tls, "filter_disabled"
    assert "BlackHoleCluster drops every connection" in hole.chains[0].unusable


def test_a_listener_without_inspectors_tells_nothing_apart():
    bare = chains_for_port(m.Listener("l", filter_chains=(chain("any"),)), 1)
    assert (bare.inspects_tls, bare.inspects_http) == (False, False)
