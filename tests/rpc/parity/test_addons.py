"""grpcio's companions, unmodified, on every pairing: health checking, reflection, rich status."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, descriptor_pool
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from examples.hello import hello_pb2
from tests.rpc.script import PATIENCE, READ, polite, request

SERVICE = "hello.Greeter"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def with_servicers(world, add):
    """Start a server with more than the greeter; ``add(server)`` adds it."""
    made = []

    def adding(server):
        made.append(add(server))

    return world.start_server(polite, adding=adding)[1], made


# ---- health


def test_health_is_checked(world):
    servicer = health.aio.HealthServicer() if world.kind == "aio" else health.HealthServicer()

    def add(server):
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

    port, _ = with_servicers(world, add)
    stub = health_pb2_grpc.HealthStub(world.connect(f"127.0.0.1:{port}").channel)
    asked = health_pb2.HealthCheckRequest(service=SERVICE)

    async def in_loop():
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await stub.Check(asked)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        watching = stub.Watch(asked)
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        await servicer.set(SERVICE, SERVING)
        assert (await watching.read()).status == SERVING
        assert (await stub.Check(asked)).status == SERVING
        await servicer.enter_graceful_shutdown()
        assert (await watching.read()).status == NOT_SERVING
        watching.cancel()

    if world.kind == "aio":
        world.loop.run(in_loop())
        return
    with pytest.raises(grpc.RpcError) as unknown:
        stub.Check(asked)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    watching = stub.Watch(asked)
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    servicer.set(SERVICE, SERVING)
    assert next(watching).status == SERVING
    assert stub.Check(asked).status == SERVING
    servicer.enter_graceful_shutdown()
    assert next(watching).status == NOT_SERVING
    watching.cancel()


# ---- reflection


def test_services_are_reflected(world):
    if world.kind == "aio":
        pytest.skip("the client of grpcio-reflection is of threads: see the next test")
    names = (SERVICE, reflection.SERVICE_NAME)
    port, _ = with_servicers(world, lambda server: reflection.enable_server_reflection(names, server))
    database = ProtoReflectionDescriptorDatabase(world.connect(f"127.0.0.1:{port}").channel)
    assert set(database.get_services()) == set(names)
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName(SERVICE)
    assert [method.name for method in service.methods] == ["SayHello", "ListHellos", "CollectHellos", "Chat"]


def test_services_are_reflected_in_asyncio(world):
    if world.kind == "sync":
        pytest.skip("the test before")
    names = (SERVICE, reflection.SERVICE_NAME)
    port, _ = with_servicers(world, lambda server: reflection.enable_server_reflection(names, server))
    channel = world.connect(f"127.0.0.1:{port}").channel

    async def ask():
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        return {service.name async for reply in call for service in reply.list_services_response.service}

    assert world.loop.run(ask()) == set(names)


# ---- rich status


def test_a_rich_status_arrives_whole(world):
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.QuotaFailure(violations=[{"subject": "shop", "description": "enough"}]))
    rich = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="no more", details=[detail])

    def refuse():
        yield READ
        yield lambda context: context.abort_with_status(rpc_status.to_status(rich))

    stub = world.connect(world.serve(refuse)).stub
    if world.kind == "sync":
        with pytest.raises(grpc.RpcError) as caught:
            stub.SayHello(request(), timeout=PATIENCE)
        assert rpc_status.from_call(caught.value) == rich
        return

    async def call():
        call = stub.SayHello(request(), timeout=PATIENCE)
        await asyncio.wait([asyncio.ensure_future(call.code())])
        return await rpc_status.aio.from_call(call)

    assert world.loop.run(call()) == rich


def test_the_descriptors_are_ours():
    assert hello_pb2.DESCRIPTOR.services_by_name["Greeter"].full_name == SERVICE
