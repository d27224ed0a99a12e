"""A pick has an end: its picker is told once of each attempt how it ended, whoever waits for the call or lets it go."""

from __future__ import annotations

import contextlib
import gc
import threading
from concurrent import futures

import grpc
import pytest

import rpc
from rpc._native import Origin
from rpc.balancing import PICKERS, Level, Pick
from rpc.core import ChannelCore
from rpc.errors import NOT_SENT
from rpc.steps import Dial
from tests.rpc.configs import cluster, config, endpoint
from tests.rpc.peers import KINDS, World
from tests.rpc.script import READ, greet, polite, request, stay_until_over
from tests.rpc.tls.ends import until
from tests.rpc.transports import Call, connect, ends_of
from xds_client.model import LbPolicy

OK, CANCELLED, DEADLINE_EXCEEDED = (
    getattr(grpc.StatusCode, name).value[0] for name in ("OK", "CANCELLED", "DEADLINE_EXCEEDED")
)


class Told:
    """What the pickers of a test were told."""

    def __init__(self):
        self.picks = 0
        self.ends = []

    def picker(self, endpoints):
        told = self

        class Picker:
            def pick(self, head):
                del head
                told.picks += 1
                return Pick(endpoints[0], lambda outcome, seconds: told.ends.append((outcome, seconds)))

        return Picker()

    def only(self):
        """The end of the one pick; no second one comes."""
        until(lambda: self.ends, "the picker was not told")
        gc.collect()
        assert (self.picks, len(self.ends)) == (1, 1)
        outcome, seconds = self.ends[0]
        assert seconds >= 0
        return outcome


@pytest.fixture
def told(monkeypatch):
    told = Told()
    for policy in LbPolicy:
        monkeypatch.setitem(PICKERS, policy, told.picker)
    return told


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_that_ends_well(told, our_world, kind):
    client = our_world.connect(our_world.serve(polite))
    assert client.call(kind, request("Ann")).code is grpc.StatusCode.OK
    outcome = told.only()
    assert (outcome.code, outcome.origin, outcome.response_started) == (OK, Origin.PEER, True)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_that_the_peer_fails(told, our_world, kind):
    def script():
        yield READ
        yield lambda context: context.abort(grpc.StatusCode.NOT_FOUND, "nobody")

    client = our_world.connect(our_world.serve(script))
    client.call(kind, request("Ann"))
    outcome = told.only()
    assert (outcome.code, outcome.details, outcome.origin) == (5, "nobody", Origin.PEER)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_that_is_cancelled(told, our_world, kind):
    began = threading.Event()
    client = our_world.connect(our_world.serve(staying(began)))
    call = client.begin(kind, request("Ann"))
    assert began.wait(30)
    call.cancel()
    outcome = told.only()
    assert (outcome.code, outcome.origin) == (CANCELLED, Origin.LOCAL)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_whose_deadline_passes(told, our_world, kind):
    client = our_world.connect(our_world.serve(staying(threading.Event())))
    client.call(kind, request("Ann"), timeout=0.2)
    assert told.only().code == DEADLINE_EXCEEDED


def test_of_a_stream_that_ends_unread(told, our_world):
    client = our_world.connect(our_world.serve(polite))
    call = client.begin("server_stream", request("Ann"))
    assert told.only().code == OK
    assert call.read().message == "Hello, Ann!"


def test_of_a_stream_that_is_dropped(told):
    began = threading.Event()
    world = World("sync")
    client = world.connect(world.serve(staying(began)))
    call = client.begin("server_stream", request("Ann"))
    assert began.wait(30)
    del call
    gc.collect()
    assert told.only().code == CANCELLED
    world.close()


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_whose_connection_is_lost(told, our_world, kind):
    began = threading.Event()
    client = our_world.connect(our_world.serve(staying(began)))
    held = client.begin(kind, request("Ann"))
    assert began.wait(30)
    client.close()
    assert told.only().origin in (Origin.CHANNEL, Origin.LOCAL)
    del held


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_call_that_cannot_be_sent(told, our_world, kind):
    client = our_world.connect(our_world.serve(polite))
    client.call("unary", request("Ann"))  # where there is no connection, such a call has no pick
    told.picks = 0
    told.ends.clear()
    client.call(kind, request("Ann"), metadata=[("x-text", "\n")])
    assert told.only() is NOT_SENT


def test_of_calls_that_give_up_in_the_queue(told):
    core = ChannelCore("xds:///reviews.demo:9080", lambda: None)
    core.on_config(config(cluster("c", endpoint("10.0.0.1"))))
    connect(core)
    core.snapshot.clusters["c"].endpoints[0].subchannel.transport.streams = 0
    call = Call(core, timeout=30)
    call.go()
    call.go(NOT_SENT)
    assert told.ends == []
    call.close()
    assert told.only() is NOT_SENT


def test_of_a_pick_whose_endpoint_was_lost_just_now(told):
    ends = ends_of([1, 1], ready=True)
    level = Level(ends, told.picker)
    level.pick(None, 0).not_sent()
    lost = ends[0].subchannel
    lost.transport.usable = False
    lost.lost()
    level.pick(None, 0).not_sent()
    assert len(told.ends) == told.picks == 3


def test_of_a_call_that_is_given_up_while_another_endpoint_is_dialled(told):
    core = ChannelCore("xds:///reviews.demo:9080", lambda: None)
    core.on_config(config(cluster("c", endpoint("10.0.0.1"), endpoint("10.0.0.2"))))
    connect(core)
    call = Call(core)
    assert isinstance(call.go(), Dial)
    call.close()
    assert told.only() is NOT_SENT


def test_of_a_stream_that_ends_unread_where_others_read_on_its_connection(told, sync_world):
    """Nobody reads on a blocking connection between calls; who hears of ends has it looked after."""
    go = threading.Event()

    def script():
        yield READ
        yield lambda context: go.wait(30)

    client, took = sync_world.connect(sync_world.serve(script)), []
    for _ in range(3):
        go.clear()
        told.ends.clear()
        stream, other = client.begin("server_stream", request("Ann")), client.begin("server_stream", request("Bob"))
        threading.Timer(0.2, go.set).start()
        other.read()  # leads, for a while
        until(lambda: len(told.ends) == 2)
        took.append(max(seconds for _, seconds in told.ends))
        del stream, other
    assert min(took) < 1.5


@pytest.mark.parametrize("how", ["call", "future"])
def test_the_end_is_without_messages_and_is_the_calls_own(told, how):
    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            answers = [b"one"] if details.method == "/a/one" else []
            return grpc.unary_stream_rpc_method_handler(lambda *_: iter(answers))

    server = rpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with rpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for method in ("/a/one", "/a/none"):
            made = channel.unary_unary(method)
            with contextlib.suppress(grpc.RpcError):
                made.future(b"").result() if how == "future" else made(b"")
    server.stop(None).wait()
    one, none = (outcome for outcome, _ in told.ends)
    assert (one.code, one.payload) == (OK, None)
    assert none.code == grpc.StatusCode.UNIMPLEMENTED.value[0]


def staying(began):
    def script():
        yield lambda context: began.set()
        yield stay_until_over(threading.Event())
        yield greet(request("nobody"))

    return script
