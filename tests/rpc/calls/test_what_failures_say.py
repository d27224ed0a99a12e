"""Whoever reads what failed learns whose limit it was, who refused, and what the channel did about it."""

from __future__ import annotations

import asyncio
import logging
import pickle
import re
import socket
import threading
import time

import grpc
import pytest

import rpc
from tests.rpc.mesh import Mesh
from tests.rpc.script import PATIENCE, READ, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import Authority
from xds_client import Bootstrap, PilotExchanger

TARGET = "xds:///reviews.demo:9080"
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: demo}
spec:
  hosts: [reviews.demo.svc.cluster.local]
  http:
  - name: hurried
    timeout: 200ms
    route: [{destination: {host: reviews.demo.svc.cluster.local}}]
"""


@pytest.fixture
def exchanger(tmp_path):
    """Of a mesh whose service never answers and whose route does not wait for it."""
    over = threading.Event()

    def mute():
        yield READ
        yield lambda _context: over.wait(PATIENCE)

    (tmp_path / "routes.yaml").write_text(ROUTES)
    mesh = Mesh(tmp_path, mute)
    mesh.plane.start()
    with PilotExchanger(Bootstrap.load(mesh.environment)) as exchanger:
        yield exchanger
    over.set()
    mesh.close()


@pytest.mark.parametrize("kind", ["unary", "server_stream", "client_stream", "bidi"])
def test_a_routes_time_out_names_the_route_and_its_limit(our_world, exchanger, kind):
    answer = our_world.connect(TARGET, mesh=exchanger).call(kind, asked("you"))
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert answer.details.startswith("Deadline Exceeded")
    assert answer.details.endswith(": route 'hurried' allows 0.2 s")


def test_the_callers_own_deadline_is_nobody_elses(our_world, exchanger):
    client = our_world.connect(TARGET, mesh=exchanger)
    client.call("unary", asked("you"))  # there is a connection now
    answer = client.call("unary", asked("you"), timeout=0.05)
    assert (answer.code, answer.details) == (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def test_debug_tells_configuration_dials_and_routes(our_world, exchanger, caplog):
    caplog.set_level(logging.DEBUG, logger="proxyless.rpc")
    our_world.connect(TARGET, mesh=exchanger).call("unary", asked("you"))
    cluster = "outbound|9080||reviews.demo.svc.cluster.local"
    said = [record.getMessage() for record in caplog.records]
    in_use = f"{TARGET}: in use: 1 routes, clusters {cluster}, endpoints "
    [endpoint] = {line.removeprefix(in_use) for line in said if line.startswith(in_use)}
    assert f"{endpoint}: connecting, in plaintext" in said
    assert f"{TARGET}: /hello.Greeter/SayHello takes route 'hurried', to cluster {cluster}" in said
    told = rf"{re.escape(endpoint)}: connected, and the peer has spoken, after \d+\.\d+ s: in plaintext"
    assert [line for line in said if re.fullmatch(told, line)]


def test_debug_tells_why_there_is_no_connection(our_world, caplog):
    caplog.set_level(logging.DEBUG, logger="proxyless.rpc")
    our_world.connect("127.0.0.1:1").call("unary", asked("you"))
    told = r"127\.0\.0\.1:1: not connected: Connection refused \(after \d+\.\d+ s\)"
    assert [record for record in caplog.records if re.fullmatch(told, record.getMessage())]


@pytest.mark.parametrize(
    ("names", "shown"),
    [({"dns": ["localhost", "reviews"]}, "localhost, reviews"), ({"common_name": "localhost"}, "localhost")],
)
def test_debug_tells_of_handshakes_who_the_peer_is(our_world, caplog, names, shown):
    caplog.set_level(logging.DEBUG, logger="proxyless.rpc")
    root = Authority()
    address = our_world.serve(polite, credentials=rpc.ssl_server_credentials([root.issue(**names).pair]))
    options = [("grpc.ssl_target_name_override", "localhost")]
    credentials = rpc.ssl_channel_credentials(root.pem)
    client = our_world.connect(address, options, credentials=credentials)
    assert client.call("unary", asked("you")).code is grpc.StatusCode.OK
    told = rf"{re.escape(address)}: connected, .* after \d+\.\d+ s: TLSv1\.3, h2, .*, the peer is {shown}"
    assert [record for record in caplog.records if re.fullmatch(told, record.getMessage())], caplog.text
    our_world.connect(address, credentials=credentials).call("unary", asked("you"))
    assert re.search(r": not connected: the peer's certificate is for .* \(after \d+\.\d+ s\)", caplog.text)


@pytest.fixture
def mute_proxy(monkeypatch):
    """Connected to, and never answering."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("grpc_proxy", f"http://{proxy}")
        yield proxy


def test_a_proxy_that_says_nothing_is_named(our_world, mute_proxy):
    options = [("grpc.min_reconnect_backoff_ms", 300)]  # what a dial may take
    answer = our_world.connect("reviews.example:9080", options).call("unary", asked("you"))
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert f"the HTTP proxy {mute_proxy} gave no answer in time" in answer.details


def test_a_proxy_that_cannot_be_connected_to_in_time_is_named(our_world, monkeypatch):
    """Its backlog is full: the system leaves those who knock without an answer."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        knocking = [socket.socket() for _ in range(4)]
        try:
            for one in knocking:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            proxy = f"127.0.0.1:{full.getsockname()[1]}"
            monkeypatch.setenv("grpc_proxy", f"http://{proxy}")
            options = [("grpc.min_reconnect_backoff_ms", 300)]
            answer = our_world.connect("reviews.example:9080", options).call("unary", asked("you"))
            assert answer.code is grpc.StatusCode.UNAVAILABLE
            assert f"the HTTP proxy {proxy} cannot be reached: no answer in time" in answer.details
        finally:
            for one in knocking:
                one.close()


def test_a_proxy_that_is_not_there_is_named(our_world, monkeypatch):
    monkeypatch.setenv("grpc_proxy", "http://127.0.0.1:1")
    answer = our_world.connect("reviews.example:9080").call("unary", asked("you"))
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "the HTTP proxy 127.0.0.1:1 cannot be reached: Connection refused" in answer.details


def test_an_error_says_its_text_once():
    with rpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/a/b")(b"", timeout=PATIENCE)
    assert_once(caught.value)


def test_an_error_of_asyncio_says_its_text_once_and_goes_through_pickle():
    async def call():
        async with rpc.aio.insecure_channel("127.0.0.1:1") as channel:
            await channel.unary_unary("/a/b")(b"", timeout=PATIENCE)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        asyncio.run(call())
    assert_once(caught.value)
    assert_once(pickle.loads(pickle.dumps(caught.value)))


def assert_once(error):
    for text in (str(error), repr(error)):
        assert text.count(error.details()) == 1
        assert "UNAVAILABLE" in text


def test_a_channel_says_its_target_and_state(our_world):
    client = our_world.connect("127.0.0.1:1")
    assert repr(client.channel) in {
        f"<rpc.{world}.channel.Channel to 127.0.0.1:1, IDLE>" for world in ("blocking", "aio")
    }
    client.call("unary", asked("you"))
    end = time.monotonic() + PATIENCE
    while "TRANSIENT_FAILURE" not in repr(client.channel):
        assert time.monotonic() < end
        time.sleep(0.01)
