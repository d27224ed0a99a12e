"""Whoever reads what failed learns whose limit it was, who refused, and what the channel did about it."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time

import grpc
import pytest

import rpc
from tests.rpc.mesh import Mesh
from tests.rpc.script import PATIENCE, READ
from tests.rpc.script import request as asked
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
    assert f"{endpoint}: connected, and the peer has spoken" in said


def test_debug_tells_why_there_is_no_connection(our_world, caplog):
    caplog.set_level(logging.DEBUG, logger="proxyless.rpc")
    our_world.connect("127.0.0.1:1").call("unary", asked("you"))
    assert "127.0.0.1:1: not connected: Connection refused" in [record.getMessage() for record in caplog.records]


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
