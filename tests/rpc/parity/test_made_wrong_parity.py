"""What is refused, or taken, where channels and servers are made; and handlers of one's own making."""

from __future__ import annotations

import asyncio
import socket
from concurrent import futures

import grpc
import grpc.aio
import pytest
from grpc import experimental

import rpc
import rpc.aio
from tests.rpc.script import PATIENCE

NOWHERE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN}  # as grpcio calls it
MAKES = pytest.mark.parametrize("make", [grpc, rpc], ids=["grpcio", "ours"])


def in_loop(function, *args, **how):
    async def run():
        return function(*args, **how)

    return asyncio.run(run())


def pool():
    return futures.ThreadPoolExecutor(2)


@MAKES
def test_options_in_a_dict_are_refused(make):
    options = {"grpc.max_receive_message_length": 1}
    for function, args in [
        (make.insecure_channel, ("localhost:1",)),
        (make.server, (pool(),)),
        (make.aio.insecure_channel, ("localhost:1",)),
        (make.aio.server, ()),
    ]:
        with pytest.raises(ValueError, match=r"pairs|unpack"):
            in_loop(function, *args, options=options)


def test_handlers_and_interceptors_that_are_none_are_refused_when_the_server_is_made():
    for function, args in [(rpc.server, (pool(),)), (rpc.aio.server, ())]:
        with pytest.raises(AttributeError, match="service"):
            in_loop(function, *args, handlers=[object()])
        with pytest.raises(ValueError, match="interceptor"):
            in_loop(function, *args, interceptors=[object()])


@MAKES
def test_a_channel_without_a_target_fails_its_calls_and_not_its_making(make):
    with make.insecure_channel("") as channel, pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/t/M")(b"", timeout=PATIENCE)
    assert error.value.code() in NOWHERE

    async def call():
        async with make.aio.insecure_channel("") as channel:
            await channel.unary_unary("/t/M")(b"", timeout=PATIENCE)

    with pytest.raises(grpc.aio.AioRpcError) as failed:
        asyncio.run(call())
    assert failed.value.code() in NOWHERE


@pytest.mark.filterwarnings("ignore::grpc.experimental.ExperimentalApiWarning")
def test_a_key_that_signs_elsewhere_is_refused_by_name():
    signing = experimental.ssl_channel_credentials_with_custom_signer(
        private_key_sign_fn=lambda *_: b"", root_certificates=b"roots", certificate_chain=b"chain"
    )
    with pytest.raises(TypeError, match="ssl_channel_credentials_with_custom_signer"):
        rpc.secure_channel("localhost:1", signing)


class Handler:
    """Has what its kind needs, and nothing else."""

    request_deserializer = response_serializer = None

    def __init__(self, kind, behaviour):
        self.request_streaming, self.response_streaming = kind.startswith("stream"), kind.endswith("stream")
        setattr(self, kind, behaviour)


def respond(request, _):
    return request if isinstance(request, bytes) else b"".join(request)


def respond_often(request, _):
    yield from ([request] if isinstance(request, bytes) else request)


async def respond_in_loop(request, _):
    return request if isinstance(request, bytes) else b"".join([one async for one in request])


async def respond_often_in_loop(request, _):
    if isinstance(request, bytes):
        yield request
    else:
        async for one in request:
            yield one


class Own(grpc.GenericRpcHandler):
    """Every method is of this kind, whatever its name."""

    def __init__(self, kind, names, *, loop=False):
        self._names = names
        often = kind.endswith("stream")
        behaviours = (respond_in_loop, respond_often_in_loop) if loop else (respond, respond_often)
        self._handler = Handler(kind, behaviours[often])

    def service(self, details):
        self._names.append(details.method)
        return self._handler


KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


@MAKES
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["/own.Service/Method", "without-a-slash", "own.Service/Method"])
def test_handlers_of_ones_own_and_names_of_any_form_are_served(make, kind, name):
    names = []
    server = make.server(pool(), handlers=[Own(kind, names)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with make.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = iter([b"a", b"b"]) if kind.startswith("stream") else b"ab"
        answer = getattr(channel, kind)(name)(request, timeout=PATIENCE)
        assert b"".join([answer] if isinstance(answer, bytes) else answer) == b"ab"
    assert names == [name]
    server.stop(None).wait(PATIENCE)


@MAKES
@pytest.mark.parametrize("kind", KINDS)
def test_handlers_of_ones_own_are_served_in_a_loop(make, kind):
    async def run():
        server = make.aio.server(handlers=[Own(kind, [], loop=True)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with make.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = getattr(channel, kind)("/t/M")(
                [b"a", b"b"] if kind.startswith("stream") else b"ab", timeout=PATIENCE
            )
            answer = [one async for one in call] if kind.endswith("stream") else [await call]
        await server.stop(None)
        return b"".join(answer)

    assert asyncio.run(run()) == b"ab"


@MAKES
def test_the_state_is_the_one_before_it_begins_to_connect(make):
    async def run():
        async with make.aio.insecure_channel("127.0.0.1:1") as channel:
            return channel.get_state(try_to_connect=True)

    assert asyncio.run(run()) is grpc.ChannelConnectivity.IDLE


@MAKES
def test_a_stopped_server_has_closed_its_port_and_its_name_when_stop_returns(make, tmp_path):
    name = tmp_path / "socket"
    for _ in range(10):
        server = make.server(pool())
        server.add_insecure_port(f"unix:{name}")
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        stopped = server.stop(None)
        assert not name.exists()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        assert stopped.wait(PATIENCE)
