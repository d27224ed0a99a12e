"""What target strings and options mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rpc
import rpc.aio
from rpc.options import UNLIMITED, ChannelOptions, ServerOptions
from rpc.resolver import parse
from rpc.resolver.static import StaticResolver
from xds_client.model import InvalidTargetError, Target

LABEL = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@pytest.mark.parametrize("text", ["xds:///reviews:9080", "reviews:9080", "XDS:///Reviews:9080".replace("XDS", "xds")])
def test_a_mesh_target_is_a_host_and_a_port(text):
    assert Target.parse(text) == Target("reviews", 9080)


@pytest.mark.parametrize(
    "text",
    [
        "xds:///reviews",
        "xds:///:9080",
        "xds:///",
        "xds://authority/reviews:9080",
        "xds:///reviews:0",
        "xds:///reviews:65536",
        "xds:///reviews:http",
        "xds:///reviews:-1",
        "xds:///re views:9080",
        "xds:///a/b:9080",
        "xds:///a|b:9080",
        "xds:///reviews:٣",
    ],
)
def test_what_is_no_mesh_target_is_refused_and_named(text):
    with pytest.raises(InvalidTargetError) as caught:
        Target.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("reviews", ["reviews.demo.svc.cluster.local"]),
        ("reviews.other", ["reviews.other.svc.cluster.local", "reviews.other"]),
        ("reviews.other.svc", ["reviews.other.svc.cluster.local"]),
        ("reviews.other.svc.cluster.local", ["reviews.other.svc.cluster.local"]),
        ("api.example.com", ["api.example.com"]),
        ("example.com.", ["example.com"]),
        ("reviews.", ["reviews"]),
    ],
)
def test_short_names_are_expanded_as_kubernetes_does(host, expected):
    assert list(Target(host, 9080).candidates("demo", "cluster.local")) == expected


@given(st.lists(LABEL, min_size=1, max_size=6), st.integers(1, 65535))
def test_every_target_has_candidates_and_reads_back(labels, port):
    target = Target(".".join(labels), port)
    assert Target.parse(str(target)) == target
    candidates = target.candidates("demo", "cluster.local")
    assert candidates
    assert all(candidate.startswith(labels[0]) for candidate in candidates)
    assert len(set(candidates)) == len(candidates)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:50051", "localhost", 50051),
        ("localhost", "localhost", 443),
        ("localhost:", "localhost", 443),
        ("localhost:http", "localhost", 80),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:80", "::1", 80),
        ("[::1]", "::1", 443),
        ("dns:reviews:9080", "reviews", 9080),
        ("dns:///reviews:9080", "reviews", 9080),
        ("dns:///reviews", "reviews", 443),
        ("ipv4:10.0.0.1:80", "10.0.0.1", 80),
        ("ipv6:[::1]:80", "::1", 80),
        ("ipv6:///[::1]:80", "::1", 80),
        ("unix:/tmp/x", "unix:/tmp/x", 0),
        ("unix:///tmp/x", "unix:/tmp/x", 0),
        ("unix:x", "unix:x", 0),
        ("unix-abstract:x", "unix-abstract:x", 0),
    ],
)
def test_a_plain_target_is_one_endpoint_as_written(text, host, port):
    resolver = parse(text, None)
    assert isinstance(resolver, StaticResolver)
    said = []
    resolver.start(said.append)
    [endpoint] = [endpoint for pool in said[0].pools for endpoint in pool.endpoints]
    assert (endpoint.address, endpoint.port) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        ":80",
        "localhost:0",
        "dns://8.8.8.8/a:1",
        "dns:///",
        "ipv4:10.0.0.1",
        "ipv4:",
        "unix:",
        "unix://host/path",
        "http://a:1",
    ],
)
@pytest.mark.parametrize("make", [rpc.insecure_channel, rpc.aio.insecure_channel], ids=["sync", "aio"])
def test_a_target_that_is_not_understood_is_refused_and_named(make, text):
    with pytest.raises(InvalidTargetError) as caught:
        make(text)
    assert repr(text) in str(caught.value)


def test_options_have_grpcs_defaults():
    assert ChannelOptions.parse(None).max_receive_message_length == 4 * 1024 * 1024
    assert ServerOptions.parse([]).max_receive_message_length == 4 * 1024 * 1024
    assert ServerOptions.parse(None).reuse_port


def test_minus_one_lifts_a_limit():
    lifted = [("grpc.max_receive_message_length", -1)]
    assert ChannelOptions.parse(lifted).max_receive_message_length == UNLIMITED
    assert ServerOptions.parse(lifted).max_receive_message_length == UNLIMITED


def test_the_last_of_an_option_given_twice_counts():
    given_twice = (("grpc.max_receive_message_length", 1), ("grpc.max_receive_message_length", 2))
    assert ChannelOptions.parse(given_twice).max_receive_message_length == 2


def test_server_options_are_read():
    options = ServerOptions.parse([("grpc.so_reuseport", 0), ("grpc.max_concurrent_streams", 7)])
    assert (options.reuse_port, options.max_concurrent_streams) == (False, 7)


def test_options_that_mean_nothing_here_are_taken():
    assert ChannelOptions.parse([("grpc.server_handshake_timeout_ms", 1)]) == ChannelOptions.parse(None)


def test_a_user_agent_comes_before_ours():
    agent = ChannelOptions.parse([("grpc.primary_user_agent", "shop/1.0")]).user_agent
    assert agent.startswith("shop/1.0 grpc-python-proxyless/")


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "256.0.0.1:80", "nobody.invalid:0"])
def test_an_address_that_cannot_be_bound_is_named(address):
    with pytest.raises(RuntimeError) as caught:
        rpc.server(None).add_insecure_port(address)
    assert repr(address) in str(caught.value)


@pytest.mark.parametrize("listening", [True, False], ids=["by a server that runs", "by a server not started yet"])
def test_a_port_that_is_taken_is_named(listening):
    options = [("grpc.so_reuseport", 0)]
    first, second = rpc.server(None, options=options), rpc.server(None, options=options)
    port = first.add_insecure_port("127.0.0.1:0")
    if listening:
        first.start()
    try:
        with pytest.raises(RuntimeError, match=f"127.0.0.1:{port}"):
            second.add_insecure_port(f"127.0.0.1:{port}")
    finally:
        first.stop(0).wait(30)
        second.stop(0).wait(30)
