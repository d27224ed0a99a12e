"""Our decode of what a real istiod sent, against envoy-data-plane's reading of the same bytes."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace

import pytest
from google.protobuf import duration_pb2

from tests.xds_client.captured import captured, everything
from tests.xds_client.mesh import cluster, route
from xds_client import model as m
from xds_client.decode import parse
from xds_client.errors import DecodeError
from xds_client.resource_type import ResourceType

# envoy-data-plane warns of every deprecated field that istiod still sends.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def second_codec():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # envoy-data-plane's import warns 89 times (pydantic)
        return importlib.import_module("tests.xds_client.second_codec")


def decode(kind, name, data):
    return parse(kind, name, kind.value, data).value()


@pytest.mark.parametrize(("kind", "name", "data"), everything(), ids=lambda x: x if isinstance(x, str) else "")
def test_our_decode_agrees_with_envoy_data_planes(second_codec, kind, name, data):
    assert without_left_out(decode(kind, name, data)) == second_codec.read(kind, data)


def without_left_out(value):
    """What the other codec reads: not what is not carried out, nor what is kept for later releases."""
    if isinstance(value, m.RouteConfiguration):
        return m.RouteConfiguration(
            value.name, tuple(map(_host, value.virtual_hosts)), value.ignore_port_in_host_matching
        )
    if isinstance(value, m.ClusterLoadAssignment):
        return _assignment(value)
    if isinstance(value, m.Listener):
        chains = tuple(map(_chain, value.filter_chains))
        default = _chain(value.default_filter_chain) if value.default_filter_chain is not None else None
        filters = bare(value.listener_filters)
        return replace(value, filter_chains=chains, default_filter_chain=default, listener_filters=filters)
    if not isinstance(value, m.Cluster):
        return value
    inline = _assignment(value.inline_endpoints) if value.inline_endpoints is not None else None
    stripped = replace(value, left_out=(), terms=m.NO_CLUSTER_TERMS, metadata=m.NO_METADATA)
    return replace(stripped, inline_endpoints=inline)


def _chain(chain):
    network, http = bare(chain.network_filters), bare(chain.http_filters)
    return replace(chain, network_filters=network, http_filters=http, packed_http=None)


def bare(filters):
    """Their names and types: not what they say."""
    return tuple(replace(one, packed=None) for one in filters)


def _assignment(value):
    return m.ClusterLoadAssignment(value.name, tuple(map(_locality, value.localities)))


def _locality(group):
    endpoints = tuple(replace(e, metadata=m.NO_METADATA, details=m.NO_DETAILS) for e in group.endpoints)
    return m.LocalityEndpoints(group.locality, group.priority, group.weight, endpoints)


def _host(host):
    kept = (one for one in host.routes if one.match.possible_for_grpc)
    routes = (m.Route(one.name, replace(one.match, grpc=False), one.action) for one in kept)
    return m.VirtualHost(host.name, host.domains, tuple(routes), host.require_tls)


def test_what_the_captured_mesh_asks_for_and_is_not_carried_out():
    [(kind, name, data)] = captured("grpc-delta-RDS.json")
    [virtual_host] = decode(kind, name, data).virtual_hosts
    possible = [one for one in virtual_host.routes if one.match.possible_for_grpc]
    asked = {one.name: [what.partition(" ")[0] for what in one.left_out] for one in possible}
    assert asked == {
        "admin-exact": ["retries", "headers"],
        "fault": ["fault"],
        "rewrite": ["mirror", "rewrite"],
        "redirect": [],
        "direct": [],
        "weighted": ["mirror", "headers"],
    }
    resources = {name: (kind, name, data) for kind, name, data in captured("sidecar-delta-CDS.json")}
    assert decode(*resources["outbound|7070||echo.demo.svc.cluster.local"]).left_out == ()
    asked = decode(*resources["outbound|9080|v2|reviews.demo.svc.cluster.local"]).left_out
    assert {"loadBalancer.consistentHash (RING_HASH)", "outlierDetection", "connectionPool.http.maxRetries (15)"} < {
        *asked
    }


def test_the_captures_are_not_trivial():
    values = [decode(*resource) for resource in everything()]
    assert len(values) == 48
    actions = [
        r.action for t in values if isinstance(t, m.RouteConfiguration) for v in t.virtual_hosts for r in v.routes
    ]
    assert {a.kind for a in actions if isinstance(a, m.UnsupportedAction)} == {"redirect", "direct_response"}
    assert any(isinstance(v, m.Cluster) and v.tls is not None for v in values)


def test_the_weighted_route_of_the_captured_virtual_service():
    [(kind, name, data)] = captured("grpc-delta-RDS.json")
    [virtual_host] = decode(kind, name, data).virtual_hosts
    names = [r.name for r in virtual_host.routes if r.match.possible_for_grpc]
    assert names == ["admin-exact", "fault", "rewrite", "redirect", "direct", "weighted"], "query-and-method never fits"
    weighted = next(r for r in virtual_host.routes if r.name == "weighted").action
    assert [(c.name.split("|")[2], c.weight) for c in weighted.clusters] == [("v1", 80), ("v2", 15), ("v3", 5)]
    assert weighted.timeout == 10.0
    assert virtual_host.routes[1].action.timeout is None, "0s is no limit"


def test_auto_mtls_of_the_captured_cluster():
    resources = {name: (kind, name, data) for kind, name, data in captured("sidecar-delta-CDS.json")}
    echo = decode(*resources["outbound|7070||echo.demo.svc.cluster.local"])
    tls = echo.tls_for(m.Endpoint("10.0.0.1", 1, transport_labels=(("tlsMode", "istio"),)))
    assert tls.sni == "outbound_.7070_._.echo.demo.svc.cluster.local"
    assert tls.subject_alt_names[0].value == "spiffe://cluster.local/ns/demo/sa/echo"
    assert echo.tls_for(m.Endpoint("10.0.0.1", 1)) is None
    assert echo.max_requests is None
    external = decode(*resources["outbound|80||api.example.org"])
    assert external.discovery is m.DiscoveryType.STRICT_DNS
    assert external.inline_endpoints.localities[0].endpoints[0].address == "api.example.org"


# Where the second codec is wrong (shared facts/packages.md), and ours must not be


def test_envoy_data_plane_accepts_a_truncated_message_and_we_do_not(second_codec):
    data = cluster("outbound|1||a").SerializeToString()[:-1]
    second_codec.cds.Cluster.parse(data)
    with pytest.raises(DecodeError, match="protobuf"):
        decode(ResourceType.CLUSTER, "outbound|1||a", data)


def test_envoy_data_plane_loses_nanoseconds_and_we_do_not(second_codec):
    message = cluster("x", connect_timeout=duration_pb2.Duration(seconds=1, nanos=1))
    data = message.SerializeToString()
    assert second_codec.cluster(second_codec.cds.Cluster.parse(data)).connect_timeout == 1.0
    assert decode(ResourceType.CLUSTER, "x", data).connect_timeout == 1.000000001


def test_envoy_data_plane_refuses_a_oneof_set_twice_and_we_take_the_last(second_codec):
    path, prefix = route("r", "c"), route("r", "c")
    path.virtual_hosts[0].routes[0].match.path = "/exact"
    twice = path.virtual_hosts[0].routes[0].match.SerializeToString()
    twice += prefix.virtual_hosts[0].routes[0].match.SerializeToString()
    with pytest.raises(ValueError, match="more than one"):
        second_codec.rds.RouteMatch.parse(twice)
    prefix.virtual_hosts[0].routes[0].match.ParseFromString(twice)
    table = decode(ResourceType.ROUTE, "r", prefix.SerializeToString())
    assert table.virtual_hosts[0].routes[0].match.path.kind is m.PathMatchKind.PREFIX
