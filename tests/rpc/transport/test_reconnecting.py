"""Servers that end each connection before it has carried anything: a call is sent again once, and dials back off."""

from __future__ import annotations

import struct
import threading

import grpc
import pytest

from tests.rpc import frames
from tests.rpc.frames import GOAWAY, SETTINGS, frame
from tests.rpc.mesh import YAML
from tests.rpc.script import request

PATIENCE = 1.5  # seconds that a call waits
# The first, the one that follows it at once, and one for each back-off (0.8 s at the least) within the patience.
MOST = 2 + 2

CALL = """
import grpc, rpc
channel = rpc.insecure_channel("xds:///reviews.demo.svc.cluster.local:9080")
try:
    channel.unary_unary("/hello.Greeter/SayHello")(b"", timeout=20, wait_for_ready=True)
except grpc.RpcError as error:
    print(error.code().name)
"""


def goaway(code=0):
    return frame(GOAWAY, body=struct.pack(">II", 0, code))


def says_that_it_took_nothing(connection, _):
    connection.greet()
    connection.request()
    connection.send(goaway())


def says_so_with_an_error(connection, _):
    connection.greet()
    connection.request()
    connection.send(goaway(frames.CALM))


def leaves_as_it_greets(connection, _):
    connection.send(frame(SETTINGS) + goaway())


def hangs_up_as_it_greets(connection, _):
    connection.greet()
    connection.close()


def hangs_up_on_the_request(connection, _):
    connection.greet()
    connection.request()
    connection.close()


def resets_and_leaves(connection, _):
    connection.greet()
    connection.send(frame(frames.RST_STREAM, connection.request(), struct.pack(">I", frames.REFUSED)) + goaway())


ENDS = [
    says_that_it_took_nothing,
    says_so_with_an_error,
    leaves_as_it_greets,
    hangs_up_as_it_greets,
    hangs_up_on_the_request,
    resets_and_leaves,
]


@pytest.mark.parametrize("wait_for_ready", [False, True], ids=["fails fast", "waits for ready"])
@pytest.mark.parametrize("kind", ["unary", "bidi"])
@pytest.mark.parametrize("ends", ENDS)
def test_one_call_makes_few_connections(our_world, start, ends, kind, wait_for_ready):
    server = start(ends)
    client = our_world.connect(server.address)
    answer = client.call(kind, request("Ann"), timeout=PATIENCE, wait_for_ready=wait_for_ready)
    assert answer.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}, answer
    assert server.accepted <= MOST


@pytest.mark.parametrize("ends", ENDS)
def test_many_calls_do_not_make_a_connection_each(our_world, start, ends):
    server = start(ends)
    client = our_world.connect(server.address)
    for _ in range(50):
        assert client.call("unary", request("Ann"), timeout=PATIENCE).code is not grpc.StatusCode.OK
    assert server.accepted < 25


def test_a_server_that_answers_and_leaves_is_called_again_at_once(our_world, start):
    """Each connection carries one call."""

    def one_call(connection, _):
        connection.greet()
        connection.reply(connection.request())
        connection.send(goaway())
        connection.close()

    server = start(one_call)
    client = our_world.connect(server.address)
    for _ in range(20):
        answer = client.call("unary", request("Ann"), timeout=20, wait_for_ready=True)
        assert answer.code is grpc.StatusCode.OK, answer
    assert server.accepted == 20


def test_after_the_back_off_calls_are_served(our_world, start):
    def better_at_last(connection, number):
        connection.greet()
        if number <= 2:
            connection.request()
            connection.send(goaway())
        else:
            connection.serve_on()

    server = start(better_at_last)
    client = our_world.connect(server.address)
    failed = client.call("unary", request("Ann"), timeout=20)
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    assert client.call("unary", request("Ann"), timeout=20, wait_for_ready=True).messages == ["hi"]
    assert server.accepted == 3


def test_who_waits_for_the_channel_to_be_ready_makes_few_connections(sync_world, start):
    server = start(hangs_up_as_it_greets)
    channel = sync_world.connect(server.address).channel
    over = threading.Event()
    channel.subscribe(lambda _: None, try_to_connect=True)
    over.wait(PATIENCE)
    assert server.accepted <= MOST


def test_a_channel_of_the_mesh_makes_few_connections(mesh, start, tmp_path):
    server = start(says_that_it_took_nothing)
    draft = tmp_path / "draft"
    draft.write_text(YAML.format(port=server.address.rpartition(":")[2]))
    draft.replace(tmp_path / "reviews.yaml")
    mesh.plane.stop()
    mesh.plane = type(mesh.plane)(tmp_path, auto_mtls=False)
    mesh.plane.start()
    with mesh.program(CALL) as program:
        assert program.communicate(timeout=60)[0].strip() == "UNAVAILABLE"
    assert server.accepted == 2
