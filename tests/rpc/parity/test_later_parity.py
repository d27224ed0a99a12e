"""Handlers that return at once and send later (`experimental_non_blocking`), and those with a pool of their own."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

import rpc
from tests.rpc.script import PATIENCE

WATCHERS = 20
THREADS = 2
MAKES = {"ours": rpc, "grpcio": grpc}


@pytest.fixture(params=[("grpcio", "grpcio"), ("ours", "grpcio"), ("grpcio", "ours"), ("ours", "ours")], ids="-".join)
def serve(request):
    """Start a server with few threads, and open a channel to it."""
    client, make = request.param
    ends = []

    def start(add, pool=None, **how):
        server = MAKES[make].server(pool or ThreadPoolExecutor(THREADS), **how)
        port = server.add_insecure_port("127.0.0.1:0")
        add(server)
        server.start()
        channel = MAKES[client].insecure_channel(f"127.0.0.1:{port}")
        ends.extend([channel.close, lambda: server.stop(None).wait(PATIENCE)])
        return server, channel

    yield start
    for end in ends:
        end()


def method(behaviour, kind=grpc.unary_stream_rpc_method_handler):
    handlers = {"M": kind(behaviour)}
    return lambda server: server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))


def non_blocking(behaviour):
    behaviour.experimental_non_blocking = True
    return behaviour


def test_watchers_of_health_hold_no_thread(serve):
    servicer = health.HealthServicer()
    _, channel = serve(lambda server: health_pb2_grpc.add_HealthServicer_to_server(servicer, server))
    stub = health_pb2_grpc.HealthStub(channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE) for _ in range(WATCHERS)]
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert [next(watch).status for watch in watches] == [serving] * WATCHERS
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status == serving
    servicer.set("", not_serving)
    assert [next(watch).status for watch in watches] == [not_serving] * WATCHERS
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE).status == not_serving


def test_responses_and_the_end_come_from_other_threads(serve):
    over, later = threading.Event(), []

    @non_blocking
    def answer(request, context, on_next):
        context.add_callback(over.set)
        context.set_trailing_metadata((("x-end", "here"),))
        later.append(on_next)
        on_next(request)

    _, channel = serve(method(answer))
    call = channel.unary_stream("/t/M")(b"first", timeout=PATIENCE)
    assert next(call) == b"first"
    for response in (b"second", b"third", None):
        sender = threading.Thread(target=later[0], args=(response,))
        sender.start()
        sender.join(PATIENCE)
    assert list(call) == [b"second", b"third"]
    assert call.code() is grpc.StatusCode.OK
    assert ("x-end", "here") in [tuple(pair) for pair in call.trailing_metadata()]
    assert over.wait(PATIENCE)
    later[0](b"too late")
    later[0](None)


def test_who_leaves_is_noticed_and_sent_nothing_more(serve):
    over, later = threading.Event(), []

    @non_blocking
    def answer(request, context, on_next):
        context.add_callback(over.set)
        later.append((on_next, context))
        on_next(request)

    _, channel = serve(method(answer))
    call = channel.unary_stream("/t/M")(b"first", timeout=PATIENCE)
    assert next(call) == b"first"
    call.cancel()
    assert over.wait(PATIENCE)
    on_next, context = later[0]
    on_next(b"nobody hears")
    assert not context.is_active()


@pytest.mark.parametrize("when", ["in the handler", "aborted", "a response", "a serializer"])
def test_what_fails_ends_the_call(serve, when):
    @non_blocking
    def answer(request, context, on_next):
        if when == "in the handler":
            raise ValueError("no answer today")
        if when == "aborted":
            context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
        if when == "a response":
            on_next(request)
            context.set_code(grpc.StatusCode.DATA_LOSS)
            on_next(None)
        else:
            on_next(b"x")

    serializer = None if when == "a response" else {}.__getitem__  # which raises
    _, channel = serve(
        method(answer, functools.partial(grpc.unary_stream_rpc_method_handler, response_serializer=serializer))
    )
    call = channel.unary_stream("/t/M")(b"", timeout=PATIENCE)
    with pytest.raises(grpc.RpcError):
        list(call)
    codes = {"in the handler": "UNKNOWN", "aborted": "NOT_FOUND", "a response": "DATA_LOSS", "a serializer": "INTERNAL"}
    assert call.code().name == codes[when]


def test_streams_of_requests_are_read_in_the_handler(serve):
    @non_blocking
    def echo(requests, context, on_next):
        for request in requests:
            on_next(request)
        on_next(None)

    _, channel = serve(method(echo, grpc.stream_stream_rpc_method_handler))
    assert list(channel.stream_stream("/t/M")(iter([b"1", b"2"]), timeout=PATIENCE)) == [b"1", b"2"]


def test_the_limit_counts_handlers_and_a_grace_waits_for_what_is_sent_later(serve):
    later = []

    @non_blocking
    def answer(request, context, on_next):
        on_next(request)
        later.append(on_next)

    server, channel = serve(method(answer), maximum_concurrent_rpcs=1)
    calls = []
    for number in range(3):
        calls.append(channel.unary_stream("/t/M")(b"x", timeout=PATIENCE))
        assert next(calls[number]) == b"x"
        while len(later) <= number:
            threading.Event().wait(0.01)
        threading.Event().wait(0.1)  # grpcio counts it until a little after that
    stopped = server.stop(PATIENCE)
    for on_next in later:
        on_next(b"y")
        on_next(None)
    assert [list(call) for call in calls] == [[b"y"]] * 3
    assert stopped.wait(PATIENCE)


def test_a_handler_runs_in_the_pool_of_its_own(serve):
    own, free = ThreadPoolExecutor(1, thread_name_prefix="its own"), threading.Event()
    names = []

    def held(request, context):
        names.append(threading.current_thread().name)
        free.wait(PATIENCE)
        return request

    held.experimental_thread_pool = own

    def quick(request, context):
        names.append(threading.current_thread().name)
        return request

    unary = grpc.unary_unary_rpc_method_handler
    handlers = grpc.method_handlers_generic_handler("t", {"Held": unary(held), "Quick": unary(quick)})
    pool = ThreadPoolExecutor(1, thread_name_prefix="the server's")
    _, channel = serve(lambda server: server.add_generic_rpc_handlers((handlers,)), pool)
    waiting = [channel.unary_unary("/t/Held").future(b"", timeout=PATIENCE) for _ in range(3)]
    for _ in range(30):
        assert channel.unary_unary("/t/Quick")(b"q", timeout=PATIENCE) == b"q"
    free.set()
    assert [call.result() for call in waiting] == [b""] * 3
    assert sorted(name.split("_")[0] for name in names) == ["its own"] * 3 + ["the server's"] * 30


def test_without_a_pool_of_the_servers_they_work_as_well():
    @non_blocking
    def answer(request, context, on_next):
        on_next(request)
        on_next(None)

    server = rpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    method(answer)(server)
    server.start()
    with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert list(channel.unary_stream("/t/M")(b"x", timeout=PATIENCE)) == [b"x"]
    server.stop(None).wait(PATIENCE)
