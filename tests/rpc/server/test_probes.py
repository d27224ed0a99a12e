"""The probe port answers health checks by the server's readiness, in plaintext, and lets nothing else in."""

import asyncio
import threading
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import rpc
import rpc.aio
from examples.hello.hello_pb2 import HelloRequest
from examples.hello.hello_pb2_grpc import GreeterServicer, GreeterStub, add_GreeterServicer_to_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class NeverReady:
    """Credentials whose configuration does not come."""

    def follow(self, secured_port):
        secured_port.waiting_for = "a configuration"
        return self

    def close(self):
        pass


def check(port, service=""):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status


@pytest.fixture
def busy_server():
    """All of its pool's threads are taken."""
    release = threading.Event()
    pool = futures.ThreadPoolExecutor(1)
    pool.submit(release.wait)
    server = rpc.server(pool)
    add_GreeterServicer_to_server(GreeterServicer(), server)
    yield server
    release.set()
    server.stop(0).wait()


def test_a_ready_server_says_serving_although_its_pool_is_busy(busy_server):
    port = busy_server.add_probe_port("127.0.0.1:0")
    busy_server.start()
    assert check(port) == SERVING


def test_a_server_that_still_waits_for_its_configuration_says_not_serving(busy_server):
    busy_server.add_secure_port("127.0.0.1:0", NeverReady())
    port = busy_server.add_probe_port("127.0.0.1:0")
    busy_server.start()
    assert check(port) == NOT_SERVING
    assert "waits for a configuration" in busy_server.waiting_for()
    assert check(port, "any other") == NOT_SERVING


def test_a_server_that_is_not_ready_is_alive(busy_server):
    """A restart would help nobody who waits for the mesh, and would end the calls of who is leaving it."""
    busy_server.add_secure_port("127.0.0.1:0", NeverReady())
    port = busy_server.add_probe_port("127.0.0.1:0")
    busy_server.start()
    assert check(port, "liveness") == SERVING
    busy_server.announce_end()
    assert check(port, "liveness") == SERVING


def test_a_server_that_is_about_to_end_says_not_serving_and_serves(busy_server):
    port = busy_server.add_probe_port("127.0.0.1:0")
    busy_server.start()
    busy_server.announce_end()
    assert check(port) == NOT_SERVING


def test_the_application_is_not_reached_by_the_probe_port(busy_server):
    port = busy_server.add_probe_port("127.0.0.1:0")
    busy_server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as failed:
            GreeterStub(channel).SayHello(HelloRequest(), timeout=10)
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "probe port" in failed.value.details()


def test_an_asyncio_server_answers_probes_too():
    async def run():
        server = rpc.aio.server()
        port = server.add_probe_port("127.0.0.1:0")
        await server.start()
        first = await asyncio.to_thread(check, port)
        server.announce_end()
        second = await asyncio.to_thread(check, port)
        alive = await asyncio.to_thread(check, port, "liveness")
        await server.stop(0)
        return first, second, alive

    assert asyncio.run(run()) == (SERVING, NOT_SERVING, SERVING)
