"""Call credentials, on every pairing: metadata plugins, tokens, compositions; over secure channels only."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

import rpc
from examples.hello.hello_pb2 import HelloReply
from rpc.workers import PLUGINS
from tests.rpc.conftest import MATRIX
from tests.rpc.peers import KINDS, World
from tests.rpc.script import PATIENCE, READ, polite
from tests.rpc.script import request as asked
from tests.rpc.tls.certificates import Authority

MOST_PLUGINS = PLUGINS._most


@pytest.fixture(params=[entry for entry in MATRIX if entry[2] == "ours"], ids="-".join)
def world(request):
    world = World(*request.param)
    yield world
    world.close()


@pytest.fixture(scope="module")
def root():
    return Authority("a company")


@pytest.fixture(scope="module")
def leaf(root):
    return root.issue(ips=["127.0.0.1"])


def who():
    """Answer with the authorization that came."""
    pairs = yield lambda context: context.invocation_metadata()
    said = [value for key, value in pairs if key in {"authorization", "x-extra"}]
    while (yield READ) is not None:
        yield HelloReply(message=" ".join(said))


@pytest.fixture
def address(world, leaf):
    return world.serve(who, credentials=rpc.ssl_server_credentials([leaf.pair]))


def client(world, address, root, *call_credentials):
    make = rpc if world.client_make == "ours" else grpc
    channel = make.ssl_channel_credentials(root.pem)
    if call_credentials:
        channel = make.composite_channel_credentials(channel, *call_credentials)
    return world.connect(address, credentials=channel)


class Plugin(grpc.AuthMetadataPlugin):
    def __init__(self, *pairs, error=None, thread=False):
        self.contexts = []
        self._pairs, self._error, self._thread = pairs, error, thread

    def __call__(self, context, callback):
        self.contexts.append(context)
        if self._thread:
            threading.Thread(target=callback, args=(self._pairs, self._error)).start()
        else:
            callback(self._pairs, self._error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_goes_with_a_call(world, root, address, kind):
    token = grpc.access_token_call_credentials("secret")
    caller = client(world, address, root)
    assert caller.call(kind, asked(), credentials=token).messages == ["Bearer secret"]
    assert caller.call(kind, asked()).messages == [""]


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_goes_with_every_call_of_a_channel(world, root, address, kind):
    caller = client(world, address, root, grpc.access_token_call_credentials("secret"))
    assert caller.call(kind, asked()).messages == ["Bearer secret"]
    extra = grpc.metadata_call_credentials(Plugin(("x-extra", "more")))
    assert caller.call(kind, asked(), credentials=extra).messages == ["Bearer secret more"]


def test_credentials_compose(world, root, address):
    both = grpc.composite_call_credentials(
        grpc.access_token_call_credentials("secret"), grpc.metadata_call_credentials(Plugin(("x-extra", "more")))
    )
    assert client(world, address, root).call("unary", asked(), credentials=both).messages == ["Bearer secret more"]


@pytest.mark.parametrize("thread", [False, True])
def test_a_plugin_is_told_the_service_and_the_method(world, root, address, thread):
    plugin = Plugin(("x-extra", "more"), thread=thread)
    caller = client(world, address, root)
    answer = caller.call("unary", asked(), credentials=grpc.metadata_call_credentials(plugin, name="mine"))
    assert answer.messages == ["more"]
    assert plugin.contexts[0].service_url == f"https://{address}/hello.Greeter"
    assert plugin.contexts[0].method_name == "SayHello"


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_that_fails_fails_the_call(world, root, address, kind):
    plugin = grpc.metadata_call_credentials(Plugin(error=ValueError("no token today")))
    answer = client(world, address, root).call(kind, asked(), credentials=plugin)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "no token today" in answer.details


def test_a_plugin_that_raises_fails_the_call(world, root, address, caplog):
    def broken(context, callback):
        raise ValueError("no token today")

    plugin = grpc.metadata_call_credentials(broken)
    answer = client(world, address, root).call("unary", asked(), credentials=plugin)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "no token today" in answer.details


@pytest.mark.parametrize(
    "raised", [SystemExit, GeneratorExit, KeyboardInterrupt, asyncio.CancelledError, StopIteration]
)
def test_a_plugin_that_gives_up_ends_its_call_and_nothing_else(world, root, address, raised):
    def leaving(context, callback):
        raise raised

    if raised is KeyboardInterrupt and world.kind == "sync":
        pytest.skip("on the main thread it is the user's Ctrl-C")
    if world.client_make == "grpcio" and not issubclass(raised, Exception):
        pytest.skip("its plugins run on a thread each, which ends by it; the call waits for its deadline")
    caller = client(world, address, root)
    answer = caller.call("unary", asked(), credentials=grpc.metadata_call_credentials(leaving), timeout=1.0)
    assert answer.code is grpc.StatusCode.UNAVAILABLE
    assert "Getting metadata from plugin failed" in answer.details
    assert caller.call("unary", asked()).code is grpc.StatusCode.OK


def test_cancelled_calls_hold_no_thread_of_a_plugin_that_never_answers(root, leaf):
    asked_for, all_asked = [], threading.Event()

    def silent(context, callback):
        asked_for.append(callback)
        if len(asked_for) == MOST_PLUGINS:
            all_asked.set()

    world = World("aio")
    try:
        caller = client(world, world.serve(polite, credentials=rpc.ssl_server_credentials([leaf.pair])), root)
        never, token = rpc.metadata_call_credentials(silent), rpc.access_token_call_credentials("secret")
        calls = [caller.begin("unary", asked(), credentials=never, timeout=None) for _ in range(MOST_PLUGINS)]
        assert all_asked.wait(PATIENCE)
        for call in calls:
            call.cancel()
        assert caller.call("unary", asked(), credentials=token).code is grpc.StatusCode.OK
    finally:
        world.close()


def test_a_plugin_that_never_answers_meets_the_deadline(world, root, address):
    plugin = grpc.metadata_call_credentials(lambda context, callback: None)
    answer = client(world, address, root).call("unary", asked(), credentials=plugin, timeout=0.3)
    assert answer.code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_secret_goes_over_an_insecure_channel(world, kind):
    if (world.kind, world.client_make) == ("aio", "grpcio"):
        pytest.skip("grpc.aio raises UsageError; here an insecure channel may be secured by the mesh")
    plugin = Plugin(("authorization", "secret"))
    caller = world.connect(world.serve(polite))
    answer = caller.call(kind, asked(), credentials=grpc.metadata_call_credentials(plugin))
    assert answer.code is grpc.StatusCode.UNAUTHENTICATED
    assert "sufficient security level" in answer.details
    assert plugin.contexts == []


TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def of_tenant(context, callback):
    """A plugin that asks its context for whom it is; what it sets there is for nobody else."""
    tenant = TENANT.get()
    TENANT.set("a plugin")
    callback((("x-extra", tenant),), None)


def credentials_of(tenant):
    TENANT.set(tenant)
    return grpc.metadata_call_credentials(of_tenant)


@pytest.fixture
def tenants():
    """Credentials made in contexts of their own, by name."""
    return {name: contextvars.Context().run(credentials_of, name) for name in ("red", "green")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_runs_in_the_context_in_which_its_credentials_were_made(world, root, address, kind, tenants):
    caller = client(world, address, root)
    for name in ["red", "green"] * 2:
        assert caller.call(kind, asked(), credentials=tenants[name]).messages == [name]
    of_channel = client(world, address, root, tenants["red"])
    assert [of_channel.call(kind, asked()).messages for _ in range(2)] == [["red"]] * 2
    assert TENANT.get() == "nobody"


@pytest.mark.parametrize("make", ["ours", "grpcio"])
def test_plugins_of_futures_and_of_other_threads_do_too(root, leaf, make, tenants):
    world = World("sync", make)
    try:
        address = world.serve(who, credentials=rpc.ssl_server_credentials([leaf.pair]))
        stub = client(world, address, root).stub
        futures = [stub.SayHello.future(asked(), credentials=tenants[name]) for name in ["red", "green"] * 8]
        assert [future.result(PATIENCE).message for future in futures] == ["red", "green"] * 8
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(stub.SayHello, asked(), credentials=tenants[name]) for name in ["red", "green"]]
            assert [call.result(PATIENCE).message for call in calls] == ["red", "green"]
    finally:
        world.close()


def test_what_are_no_call_credentials_are_refused(our_world):
    caller = our_world.connect(our_world.serve(polite))
    with pytest.raises(TypeError, match="call credentials"):
        caller.call("unary", asked(), credentials="secret")


def test_futures_carry_credentials(root, leaf):
    world = World("sync")
    try:
        address = world.serve(who, credentials=rpc.ssl_server_credentials([leaf.pair]))
        caller = client(world, address, root)
        token = rpc.access_token_call_credentials("secret")
        future = caller.stub.SayHello.future(asked(), credentials=token, timeout=PATIENCE)
        assert future.result().message == "Bearer secret"
        streamed = caller.stub.CollectHellos.future(iter([asked()]), credentials=token, timeout=PATIENCE)
        assert streamed.result().message == "Bearer secret"
    finally:
        world.close()


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_grpcios_own_channel_credentials_are_taken(root, leaf, kind):
    world = World(kind)
    try:
        address = world.serve(who, credentials=rpc.ssl_server_credentials([leaf.pair]))
        plain = grpc.ssl_channel_credentials(root.pem)
        assert world.connect(address, credentials=plain).call("unary", asked()).code.name == "OK"
        both = grpc.composite_channel_credentials(plain, grpc.access_token_call_credentials("secret"))
        assert world.connect(address, credentials=both).call("unary", asked()).messages == ["Bearer secret"]
    finally:
        world.close()
