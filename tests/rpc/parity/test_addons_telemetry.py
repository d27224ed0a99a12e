"""OpenTelemetry's interceptors for grpc, unmodified: spans of both ends, joined by what goes over the wire."""

from __future__ import annotations

import grpc
import pytest
from opentelemetry.instrumentation import grpc as otel
from opentelemetry.instrumentation.grpc.grpcext import intercept_channel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import rpc
from examples.hello.hello_pb2_grpc import GreeterStub
from rpc.engine_channels import EngineChannels
from tests.rpc.peers import KINDS, World
from tests.rpc.script import READ, polite, request
from tests.rpc.tls.certificates import Authority
from tests.rpc.tls.ends import until
from xds_client.channels import GRPCIO


@pytest.fixture
def spans():
    """The spans that ended, and the provider that makes them."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, provider


@pytest.fixture(params=["grpcio", "ours"])
def sync_world(request):
    world = World("sync", request.param, request.param)
    yield world
    world.close()


@pytest.fixture(params=["grpcio", "ours"])
def aio_world(request):
    world = World("aio", request.param, request.param)
    yield world
    world.close()


def joined(exporter):
    """The client's and the server's span of one call, once both have ended."""
    ended = until(lambda: len(exporter.get_finished_spans()) >= 2 and exporter.get_finished_spans())
    [of_client] = [span for span in ended if span.kind is SpanKind.CLIENT]
    [of_server] = [span for span in ended if span.kind is SpanKind.SERVER]
    assert of_server.parent.span_id == of_client.context.span_id
    assert of_server.context.trace_id == of_client.context.trace_id
    return of_client, of_server


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_threads_is_two_joined_spans(sync_world, spans, kind):
    exporter, provider = spans
    address = sync_world.serve(polite, interceptors=[otel.server_interceptor(provider)])
    client = sync_world.connect(address)
    client.channel = intercept_channel(client.channel, otel.client_interceptor(provider))
    client.stub = GreeterStub(client.channel)
    if kind == "server_stream":  # what the interceptor returns is an iterator and no call, on grpcio as well
        assert [reply.message for reply in client.stub.ListHellos(request("Ann"))] == ["Hello, Ann!"]
    else:
        assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    of_client, of_server = joined(exporter)
    assert of_client.name == of_server.name == f"/hello.Greeter/{KINDS[kind]}"
    assert of_server.attributes["rpc.grpc.status_code"] == 0


def test_a_failed_call_of_threads_is_seen(sync_world, spans):
    exporter, provider = spans

    def refuse():
        yield READ
        yield lambda context: context.abort(grpc.StatusCode.INTERNAL, "broken")

    client = sync_world.connect(sync_world.serve(refuse, interceptors=[otel.server_interceptor(provider)]))
    client.channel = intercept_channel(client.channel, otel.client_interceptor(provider))
    client.stub = GreeterStub(client.channel)
    assert client.call("unary", request()).code is grpc.StatusCode.INTERNAL
    of_client, of_server = joined(exporter)
    assert of_client.status.status_code is StatusCode.ERROR
    assert of_server.attributes["rpc.grpc.status_code"] == grpc.StatusCode.INTERNAL.value[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_of_asyncio_is_two_joined_spans(aio_world, spans, kind):
    exporter, provider = spans
    address = aio_world.serve(polite, interceptors=[otel.aio_server_interceptor(provider)])
    client = aio_world.connect(address, interceptors=otel.aio_client_interceptors(provider))
    assert client.call(kind, request("Ann")).messages == ["Hello, Ann!"]
    of_client, of_server = joined(exporter)
    assert of_client.name == of_server.name == f"/hello.Greeter/{KINDS[kind]}"


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_process_instruments_all_that_it_makes(kind, spans):
    exporter, provider = spans
    extension = rpc.extend(
        channel=lambda channel: intercept_channel(channel, otel.client_interceptor(provider)),
        server_interceptors=[otel.server_interceptor(provider)],
        aio_channel_interceptors=otel.aio_client_interceptors(provider),
        aio_server_interceptors=[otel.aio_server_interceptor(provider)],
    )
    world = World(kind)
    try:
        address = world.serve(polite)
        assert world.connect(address).call("unary", request("Ann")).messages == ["Hello, Ann!"]
        joined(exporter)
        extension.close()
        exporter.clear()
        assert world.connect(world.serve(polite)).call("unary", request("Ann")).messages == ["Hello, Ann!"]
        assert exporter.get_finished_spans() == ()
    finally:
        extension.close()
        world.close()


MATERIAL = (Authority().pem, None, None)


def test_what_a_process_adds_to_its_channels_stays_out_of_those_to_the_control_plane():
    wrapped = []
    extension = rpc.extend(channel=lambda channel: wrapped.append(channel) or channel)
    try:
        for channel in (
            EngineChannels().insecure("127.0.0.1:1", ()),
            EngineChannels().secure("127.0.0.1:1", *MATERIAL, ()),
        ):
            channel.close()
        assert wrapped == []
        rpc.insecure_channel("127.0.0.1:1").close()
        assert len(wrapped) == 1
    finally:
        extension.close()


def test_an_instrumentor_of_grpcio_stays_out_of_the_channels_to_the_control_plane():
    def kinds():
        made = GRPCIO.insecure("127.0.0.1:1", ()), GRPCIO.secure("127.0.0.1:1", *MATERIAL, ())
        for channel in made:
            channel.close()
        return {type(channel) for channel in made}

    plain = kinds()
    instrumentor = otel.GrpcInstrumentorClient()
    instrumentor.instrument()
    try:
        with grpc.insecure_channel("127.0.0.1:1") as instrumented:
            assert type(instrumented) not in plain
        assert kinds() == plain
    finally:
        instrumentor.uninstrument()
